"""`ros2 run surefoot_bringup surefoot …` is the `surefoot` command."""


def main() -> None:
    from surefoot import main as surefoot

    surefoot()
