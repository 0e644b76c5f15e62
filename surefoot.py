"""The command line of surefoot: one function a subcommand, heavy imports inside."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from robot.commands import ROBOT, drive

Algorithm = Literal["auto", "ppo", "a2c", "trpo", "sac"]
Selector = Literal["random", "variance", "information_gain"]
Schedule = Literal["scaled", "paper", "linear", "offline"]
Place = Literal["local", "ray", "slurm"]
TeacherKind = Literal["people", "perfect", "rational", "noisy", "mistake", "skip", "equal"]
Set = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="KEY=VALUE")]


def train_preferences(
    env: str = "mujoco:Hopper",
    labels: int | None = None,
    labels_from: Path | None = None,
    steps: int = 0,
    seed: int = 0,
    run: Path | None = None,
    algorithm: Algorithm = "auto",
    teacher: TeacherKind = "mistake",
    teacher_errors: float = 0.1,
    selector: Selector = "information_gain",
    schedule: Schedule = "scaled",
    asynchronous: bool = False,
    seconds_per_label: float = 0.0,
    true_reward_run: Path | None = None,
    videos: bool = True,
    settings: Set = (),
) -> None:
    """Learn a reward from comparisons of clips, and a policy on nothing but that reward.

    The simulated teacher sees the hidden true reward; the learner never does. With
    `--teacher people` a link is printed: whoever opens it sees pairs of clips and answers.

    Args:
        env: Environment, as `surefoot envs` lists them.
        labels: Comparisons in all; by default 700, or those of --labels-from alone.
        labels_from: Folder of a run whose answers this one begins with.
        steps: Environment steps of the learner; 0 takes what the task needs on a laptop.
        seed: Seed of everything; the same seed gives the same run bit for bit.
        run: Folder of the run; by default runs/<task>-preferences-<seed>.
        algorithm: Learner; "auto" takes the one tuned for the task.
        teacher: "people" in the browser, or how a simulated teacher answers (B-Pref's kinds).
        teacher_errors: Share of wrong answers of the "mistake" teacher.
        selector: What chooses the pairs to ask about.
        schedule: When answers are asked for.
        asynchronous: Answers arrive while the policy trains.
        seconds_per_label: How long the teacher thinks, when asynchronous.
        true_reward_run: Folder of `surefoot train rl` on this task, the bound that the report compares with.
        videos: Write videos of the policy before and after, and of some compared clips.
        settings: Any other setting, such as --set learner.n_steps=512 --set reward.members=5.
    """
    from agents.preferences.config import PreferenceConfig
    from agents.preferences.presets import preference_config
    from agents.settings import with_settings

    recorded = 0
    if labels_from is not None:
        from agents.preferences.label_sets import read_label_set

        recorded = len(read_label_set(labels_from, env))
    labels = labels if labels is not None else recorded or 700
    config: PreferenceConfig = preference_config(
        env, labels=labels, steps=steps, seed=seed, algorithm=algorithm
    )
    config = dataclasses.replace(
        config,
        recorded_labels=min(recorded, labels),
        selector=selector,
        schedule=schedule,
        asynchronous=asynchronous,
        seconds_per_label=seconds_per_label,
        teacher=dataclasses.replace(config.teacher, kind=teacher, error_rate=teacher_errors),
    )
    config = with_settings(config, settings)
    from agents.preferences.job import start

    start(
        config,
        run or _default_run(env, "preferences", seed),
        true_reward_run=true_reward_run,
        labels_from=labels_from,
        videos=videos,
    )


def label(
    run: Annotated[Path, tyro.conf.Positional],
    invite: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    hours: float | None = None,
    host: str = "127.0.0.1",
    port: int = 8737,
    processes: int = 1,
    database: str = "",
    media: str = "",
    origin: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    secure: bool = False,
) -> None:
    """Serve the page on which people compare a run's clips, and print the links to it.

    Answers are used by the training of that run while it goes on (`--teacher people`), or kept for
    when it does. A run with a simulated teacher gets a session about the same pairs; train on its
    answers with `surefoot train preferences --labels-from <run>`.

    Args:
        run: Folder of the run, or "last".
        invite: Name of a person to make a link for; may be given several times.
        hours: The new links end after so many hours; by default never.
        host: Address to listen at; 0.0.0.0 lets in the whole network.
        port: Port to listen at, or the next free one.
        processes: Server processes.
        database: Where a new session keeps answers: SQLite in the run, or postgresql://host/name.
        media: Where a new session keeps drawn clips: a folder, or s3://bucket/prefix.
        origin: Address that people see, such as https://label.example.org behind a proxy.
        secure: People come by https only, through a proxy.
    """
    from agents.preferences.labelling.command import label_run
    from agents.preferences.labelling.config import PeopleConfig

    people = PeopleConfig(database=database, media=media, host=host, port=port, processes=processes)
    label_run(_find_run(run), people, invite=invite, hours=hours, origins=origin, secure=secure)


def train_rl(
    env: str = "mujoco:Hopper",
    steps: int = 0,
    seed: int = 0,
    run: Path | None = None,
    algorithm: Algorithm = "auto",
    preferences: bool = True,
    settings: Set = (),
) -> None:
    """Train a policy on the true reward: the bound that learnt rewards are measured against.

    Args:
        env: Environment, as `surefoot envs` lists them.
        steps: Environment steps; 0 takes what the task needs on a laptop.
        seed: Seed of everything.
        run: Folder of the run; by default runs/<task>-rl-<seed>.
        algorithm: Learner; "auto" takes the one tuned for the task.
        preferences: The task as preference work sees it (constant-length episodes), or gymnasium's own.
        settings: Any other setting, such as --set learner.n_steps=512.
    """
    from agents.presets import RlConfig, default_learner, default_steps
    from agents.rl import train_rl
    from agents.settings import with_settings

    config = RlConfig(
        env=env,
        steps=steps or default_steps(env),
        seed=seed,
        learner=default_learner(env, algorithm),
        preferences=preferences,
    )
    train_rl(with_settings(config, settings), run or _default_run(env, "rl", seed))


def train_badgr(
    data: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    holdout_data: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    run: Path | None = None,
    steps: int | None = None,
    hours_limit: float | None = None,
    start_from: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN")] = None,
    ensemble: int = 1,
    seed: int = 0,
    labels: Literal["auto", "urban", "off-road"] = "auto",
    device: str = "auto",
    threads: int = 1,
    shards: str = "",
    settings: Set = (),
) -> None:
    """Learn from recorded drives what comes of driving: collisions, bumps, getting stuck, the way.

    Give it folders of `surefoot collect` (default: runs/drives/urban) or of a real robot. Drives label
    themselves by their own sensors; a tenth of them is kept out and measured on. The run's
    predictor.model is what a robot is given, report.html says how good it is. Ctrl-C saves all, and
    `surefoot resume <run>` goes on. With torchrun (see agents/badgr/ddp.py) several processes share
    the work.

    Args:
        data: Folder of drives to learn from; may be given several times.
        holdout_data: Folder of drives to measure on, in place of a tenth of the others.
        run: Folder of the run; by default runs/<name of the data>-badgr-<seed>.
        steps: Minibatches of 32 windows.
        hours_limit: Learn from so many hours of the drives only; fewer hours are a part of more.
        start_from: Run, or its network.safetensors, to begin with: the rest is fine-tuning.
        ensemble: Members that predict beside each other; where they disagree, nothing like it was seen.
        seed: Seed of everything; the same seed gives the same run bit for bit.
        labels: What tells events: "auto" takes what suits the worlds that were collected.
        device: "auto", "cpu", "cuda", "cuda:1".
        threads: Processor threads; more only help where cores are free.
        shards: In place of --data: drives that `surefoot shard` cut, in a folder or at s3://bucket/prefix; of
            several processes each fetches and reads its own shards alone.
        settings: Any other setting, such as --set learning_rate=3e-4 --set batch_size=64.
    """
    from agents.badgr.config import BadgrConfig
    from agents.badgr.job import label_thresholds, start
    from agents.settings import with_settings

    folders = tuple(str(folder) for folder in data)
    if shards and labels == "auto":
        from agents.sweep.shards import world_of

        labels = "off-road" if world_of(shards) == "off-road" else "urban"
    elif not (folders or shards):
        folders = (str(Path("runs") / "drives" / "urban"),)
    config = BadgrConfig(
        data=folders,
        shards=shards,
        holdout_data=tuple(str(folder) for folder in holdout_data),
        labels=label_thresholds(folders, labels),
        hours=hours_limit,
        start_from=str(start_from or ""),
        members=ensemble,
        seed=seed,
        device=device,
        threads=threads,
    )
    config = with_settings(config if steps is None else dataclasses.replace(config, steps=steps), settings)
    start(config, run or Path("runs") / f"{Path([*folders, shards][0]).resolve().name}-badgr-{seed}")


def train_base(
    out: Path = Path("runs") / "base",
    frames: int = 8_000,
    steps: int = 1_500,
    tasks: tuple[Literal["depth", "normals", "edges", "contrastive"], ...] = ("depth", "normals", "edges"),
    seed: int = 0,
    settings: Set = (),
) -> None:
    """Pre-train the base of indoor navigators: it learns to see depth, surface normals and edges.

    The pictures come from the ray caster, in the training layouts as they are. The folder then holds
    base.safetensors and base.json with its fingerprint, which `surefoot train sidetuning --base` takes.

    Args:
        out: Folder of the run, which becomes the base's.
        frames: Pictures to learn from.
        steps: Minibatches.
        tasks: What it learns; "contrastive" is SimCLR's loss.
        seed: Seed of everything; the same seed gives the same base bit for bit.
        settings: Any other setting, such as --set network.features=32.
    """
    from agents.settings import with_settings
    from agents.sidetuning.base_config import PretrainConfig
    from agents.sidetuning.job import start

    config = PretrainConfig(frames=frames, steps=steps, tasks=tasks, seed=seed)
    start(with_settings(config, settings), out)


def train_sidetuning(
    base: Path = Path("runs") / "base",
    world: str = "strange",
    method: str = "side",
    demos: int = 60,
    how: Literal["bc", "ppo"] = "bc",
    steps: int = 0,
    start_from: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN")] = None,
    seed: int = 0,
    run: Path | None = None,
    settings: Set = (),
) -> None:
    """Adapt a frozen visual base to indoor navigation in a new kind of rooms.

    By imitation of the shortest-path expert, or by PPO. At the end the run is measured on trips in
    layouts that nobody trained on: success, SPL, collisions; navigator.side is what a robot is given.

    Args:
        base: Folder of `surefoot train base`.
        world: Kind of rooms: plain (as the base knows them), dim, fog, negative, wide, tall or strange.
        method: side, side-zero, side-mlp, side-film, side-product, side-copy, side-distilled, side-fixed,
            side-scheduled; or a rival: features, finetune, scratch, side-only, blind, ladder, lora, adapter.
        demos: Ways of the expert to imitate; they are gathered once and kept beside the runs.
        how: "bc", behaviour cloning, or "ppo".
        steps: Updates of imitation, or environment steps of PPO; 0 takes the default.
        start_from: Run by imitation that PPO begins with.
        seed: Seed of everything; the same seed gives the same run bit for bit.
        run: Folder of the run; by default runs/<world>-<method>-<how>-<seed>.
        settings: Any other setting, such as --set learning_rate=1e-3 --set ppo.environments=16.
    """
    from agents.settings import with_settings
    from agents.sidetuning.job import start, with_steps
    from agents.sidetuning.navigation_config import NavigationConfig

    config = NavigationConfig(
        base=str(base), world=world, method=method, demos=demos, how=how, start_from=str(start_from or ""),
        seed=seed,
    )  # fmt: skip
    config = with_settings(with_steps(config, steps) if steps else config, settings)
    start(config, run or Path("runs") / f"{world}-{method}-{how}-{seed}")


def resume(
    run: Annotated[Path, tyro.conf.Positional],
    steps: int | None = None,
    labels: int | None = None,
) -> None:
    """Go on with a run that was stopped or killed, or make a finished one longer.

    Args:
        run: Folder of the run, or "last" for the newest one in runs/.
        steps: New total of steps, more or fewer; by default the run's own.
        labels: New total of labels; by default the run's own.
    """
    from agents.badgr.job import is_badgr
    from agents.badgr.job import resume as go_on_driving
    from agents.preferences.job import resume as go_on
    from agents.sidetuning.job import is_sidetuning
    from agents.sidetuning.job import resume as go_on_navigating

    path = _find_run(run)
    if is_sidetuning(path):
        go_on_navigating(path, steps=steps)
    elif is_badgr(path):
        go_on_driving(path, steps=steps)
    else:
        go_on(path, steps=steps, labels=labels)


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    episodes: int = 50,
    seed: int = 30_000,
    video: Path | None = None,
    world: Literal["urban", "off-road"] = "urban",
    split: Literal["train", "validation", "test"] = "test",
    methods: tuple[Literal["badgr", "straight", "lidar", "oracle", "random"], ...] = (),
    out: Path | None = None,
    jobs: int = 1,
    simulator: Literal["plain", "habitat"] | None = None,
    settings: Set = (),
) -> None:
    """Measure a trained policy on the true reward, or a driver on trips to goals; prints JSON.

    A driver is a run of the event predictor, its model file, or the word "baselines" for those that
    need no model. Trips that were driven are kept: stop and go on at will.

    Args:
        run: Folder of the run, or "last"; a model file; or "baselines".
        episodes: Episodes to play, deterministically; of a driver, trips of each method.
        seed: Seed of the episodes.
        video: Also write a video of the policy to this file.
        world: Of a driver: which worlds.
        split: Of a driver: whose layouts; those of "test" nobody trains on.
        methods: Of a driver: who drives, all on the same trips.
        out: Of a driver: folder of its results; by default beside the model.
        jobs: Of a driver: worker processes.
        simulator: Of a navigator: our own world, or the same trips in Habitat-Lab (`make habitat`), with its
            measures; by default what the run itself has.
        settings: Of a driver: any other setting, such as --set drive.planner.candidates=512.
    """
    from agents.badgr.evaluate_job import evaluate_driver, is_driver
    from agents.sidetuning.job import evaluate as evaluate_navigator
    from agents.sidetuning.job import is_sidetuning

    path = _find_run(run)
    if is_sidetuning(path) or simulator is not None:
        scores = evaluate_navigator(path, episodes, seed, split=split, simulator=simulator)
        print(json.dumps(scores))
        return
    if is_driver(path):
        evaluate_driver(
            path, world=world, split=split, episodes=episodes, seed=seed, methods=methods, out=out,
            jobs=jobs, settings=settings,
        )  # fmt: skip
        return
    from agents.preferences.job import evaluate_run

    print(json.dumps(evaluate_run(path, episodes, seed, video)))


def report(run: Annotated[Path, tyro.conf.Positional], true_reward_run: Path | None = None) -> None:
    """Write a run's report.html: one file with curves, videos, configuration.

    Args:
        run: Folder of the run, or "last".
        true_reward_run: Folder of `surefoot train rl` on the same task, to compare with from now on.
    """
    from agents.badgr.job import is_badgr
    from agents.report import write_report
    from agents.sidetuning.job import is_sidetuning

    path = _find_run(run)
    if is_badgr(path):
        from agents.badgr.report import write_report as write_driving_report

        print(write_driving_report(path))
        return
    if is_sidetuning(path):
        from agents.sidetuning.report import write_report as write_navigation_report

        print(write_navigation_report(path))
        return
    if true_reward_run is not None:
        from agents.preferences.bounds import write_bounds

        write_bounds(path, true_reward_run)
    print(write_report(path))


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path = Path("comparison.svg"),
    until: int | None = None,
) -> None:
    """Draw the learning curves of runs or sweeps, and print their scores with intervals as a table.

    Runs that differ by their seed only are one method: interquartile mean, 95 % bootstrap interval.

    Args:
        runs: Folders of runs and of sweeps.
        out: What to write: .svg, .png, .pdf, or .html with the table.
        until: Compare at this step of the curves; by default at the end, which must be the same for all.
    """
    from agents.sweep.compare_files import compare

    print(compare(runs, out, until))
    print(out)


def sweep(
    spec: Annotated[Path | None, tyro.conf.Positional] = None,
    command: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    env: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    seeds: str = "",
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=A,B")] = (),
    search: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=LO..HI")] = (),
    trials: int | None = None,
    metric: str | None = None,
    direction: Literal["maximize", "minimize"] | None = None,
    watch: str | None = None,
    storage: str | None = None,
    out: Path | None = None,
    executor: Place = "local",
    jobs: int | None = None,
    address: str = "auto",
    cpus: float = 1.0,
    gpus: float = 0.0,
    slurm: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=VALUE")] = (),
) -> None:
    """Run commands for many seeds, environments and settings, here or on a cluster; then `surefoot compare`.

    Give a YAML file (agents/sweep/spec.py shows one), or options. Every trial is kept under its content:
    stopped or killed, the same command goes on, and runs no finished trial again.

    Args:
        spec: YAML file of the sweep.
        command: What to run, such as "train rl --algorithm ppo"; several are methods to compare.
        env: Environment; several are run each.
        seeds: "5" for the seeds 0 to 4, or "3,7".
        grid: Values of a setting, or with two dashes of an option, to be combined with all others.
        search: Range of a setting for Optuna to search: 1e-5..1e-2:log, 2..12, or choices a,b.
        trials: Of a search: how many values are tried.
        metric: Of a search: what counts, a name in summary.json.
        direction: Of a search: whether more or less of it is better.
        watch: Of a search: curve in metrics.jsonl by which hopeless trials are ended early.
        storage: Of a search: postgresql://host/name in place of a file.
        out: Folder of the sweep; by default runs/sweeps/<name>. On a cluster all nodes must see it.
        executor: Where trials run: processes of this machine, a Ray cluster, Slurm jobs.
        jobs: Trials at a time; by default one here, and on a cluster what its processors allow.
        address: Of Ray's head, host:port; "auto" finds the one of this machine.
        cpus: Processors of a trial on a cluster.
        gpus: GPUs of a trial on a cluster.
        slurm: Parameters of submitit, such as slurm_partition=gpu or timeout_min=600.
    """
    from agents.sweep.command import assignments, default_folder, sweep_config
    from agents.sweep.executors import ExecutorConfig
    from agents.sweep.job import sweep

    options = {"trials": trials, "metric": metric, "direction": direction, "watch": watch, "storage": storage}
    config = sweep_config(
        spec, commands=command, envs=env, seeds=seeds, grid=grid, search=search, options=options
    )
    folder = out or default_folder(spec, config)
    done = sweep(config, folder, ExecutorConfig(executor, jobs, address, cpus, gpus, assignments(slurm)))
    print(json.dumps({name: value for name, value in done.items() if name != "rows"}, indent=2))
    print(f"compare them with: surefoot compare {folder}", file=sys.stderr)
    sys.exit(done["failed"] > 0)


def demo(run: Path = Path("runs/demo"), seed: int = 0, quick: bool = False) -> None:
    """Learn a reward for MuJoCo's Hopper from 700 comparisons, 10 % of them wrong, and show it.

    Args:
        run: Folder of the run; its report is <run>/report.html.
        seed: Seed of everything.
        quick: A few seconds of it, to see that all parts work; learns nothing.
    """
    from agents.preferences.demo import run_demo

    run_demo(run, seed=seed, quick=quick)


def collect(
    world: Literal["urban", "off-road", "indoor"] = "urban",
    hours: float = 2.0,
    out: Path | None = None,
    split: Literal["train", "validation", "test"] = "train",
    seed: int = 0,
    workers: int | None = None,
    policy: str = "random",
    swap_colours: bool = False,
    executor: Place = "local",
    address: str = "auto",
    settings: Set = (),
) -> None:
    """Let simulated rovers drive themselves and record what happens, for `surefoot train badgr`.

    About 0.57 GB an hour. Stopped or killed, the same command goes on; more hours add to a folder.

    Args:
        world: Kind of world.
        hours: Simulated hours of driving.
        out: Folder of the drives; by default runs/drives/<world>.
        split: Whose worlds: 60 train, 20 validation, 20 test.
        seed: Seed of everything; the same seed gives the same drives, with any number of workers.
        workers: Processes; by default one a core, and on a cluster what its processors allow.
        policy: "random" walk, or the file of a trained event predictor.
        swap_colours: Smooth ground looks like bumpy ground, and thin grass like thick.
        executor: Where they drive: processes of this machine, a Ray cluster, Slurm jobs.
        address: Of Ray's head, host:port; "auto" finds the one of this machine.
        settings: Any other setting, such as --set walk.slowest=0.5.
    """
    from agents.badgr.collect import collect
    from agents.badgr.collect_config import CollectConfig
    from agents.settings import with_settings

    config = CollectConfig(world, split, hours, seed, policy, swap_colours)
    folder = out or Path("runs") / "drives" / world
    config = with_settings(config, settings)
    if executor == "local":
        print(json.dumps(collect(config, folder, workers), indent=2))
        return
    from agents.sweep.driving import TaskFleet
    from agents.sweep.executors import ExecutorConfig, open_executor

    place = open_executor(ExecutorConfig(executor, workers, address), folder)
    print(json.dumps(collect(config, folder, fleet=lambda config, _: TaskFleet(config, place)), indent=2))


def shard(
    data: Annotated[Path, tyro.conf.Positional],
    place: Annotated[str, tyro.conf.Positional],
    count: int = 64,
) -> None:
    """Cut a folder of drives into shards, for `surefoot train badgr --shards` on several machines.

    Args:
        data: Folder of drives.
        place: Where they are kept: a folder, or s3://bucket/prefix (keys and endpoint by AWS_* variables).
        count: How many, a multiple of the processes that will train.
    """
    from agents.sweep.shards import write_shards

    made = write_shards(data, place, count)
    size = sum(file["bytes"] for one in made for file in one.files.values())
    print(json.dumps({"shards": len(made), "episodes": sum(one.episodes for one in made), "bytes": size}))


def draw(
    run: Annotated[Path, tyro.conf.Positional],
    executor: Place = "local",
    jobs: int | None = None,
    address: str = "auto",
    idle_seconds: float | None = None,
) -> None:
    """Draw the clips that a labelling session waits for, beside its servers: here or on a cluster.

    A server draws by itself; this adds machines. Killed at any moment, the same command goes on.

    Args:
        run: Folder of the run, or "last"; its database and media must be in reach.
        executor: Where clips are drawn: processes of this machine, a Ray cluster, Slurm jobs.
        jobs: Clips at a time; by default one here, and on a cluster what its processors allow.
        address: Of Ray's head, host:port; "auto" finds the one of this machine.
        idle_seconds: End when nothing was to be drawn for so long; by default never.
    """
    from agents.preferences.labelling.session_file import open_session
    from agents.sweep.drawing import draw_clips
    from agents.sweep.executors import ExecutorConfig, open_executor

    folder = _find_run(run)
    session = open_session(folder)
    place = open_executor(ExecutorConfig(executor, jobs, address), folder)
    try:
        count = draw_clips(
            session.store, session.storage, place, session.file.study, idle_seconds=idle_seconds
        )
    finally:
        place.close()
        session.store.close()
    print(f"{count} clips drawn")


def import_bags(
    bags: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path = Path("runs") / "drives" / "robot",
    config: Path | None = None,
    width: int = 128,
    height: int = 96,
    stamps: Literal["header", "arrival"] = "header",
    longest_gap: float = 0.5,
    executor: Place = "local",
    jobs: int | None = None,
    address: str = "auto",
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Make training data of recorded drives: `surefoot train badgr --data OUT` learns from them.

    Takes what `surefoot robot record` and rosbag2 (MCAP) record, also when it was cut off. Streams are put
    together by their stamps, one observation and action each 0.25 s; says what gaps and skew there are.
    The same bag again adds nothing. With --jobs or a cluster many bags are read at a time, and one that
    cannot be used does not stop the others.

    Args:
        bags: Folders of bags, or .mcap files.
        out: Dataset that the drives are added to; on a cluster all nodes must see it, and the bags.
        config: Parameter file of the robot; by default what the recorder saved in the bag.
        width: Pixels of the pictures that are kept: those of the model.
        height: Pixels.
        stamps: The senders' own time stamps, or when the recorder heard them.
        longest_gap: Seconds that a sensor may be silent; the drive is cut there.
        executor: Where bags are read: processes of this machine, a Ray cluster, Slurm jobs.
        jobs: Bags at a time; by default one here, and on a cluster what its processors allow.
        address: Of Ray's head, host:port; "auto" finds the one of this machine.
        json_output: Print the reports as JSON.
    """
    from robot.bag_episodes import ImportConfig
    from robot.bag_import import import_bags as one_by_one
    from robot.bag_import import print_reports
    from robot.config import RobotConfig

    robot = None if config is None else RobotConfig.from_yaml(config)
    failed: Sequence[str] = ()
    if executor == "local" and jobs is None:
        given = ImportConfig((height, width), longest_gap=longest_gap, stamps=stamps)
        reports = one_by_one(bags, out, given, robot)
    else:
        from agents.sweep.executors import ExecutorConfig, open_executor
        from agents.sweep.importing import import_by_tasks

        settings: dict[str, Any] = {"image": [height, width], "longest_gap": longest_gap, "stamps": stamps}
        settings["robot"] = None if robot is None else dict(robot.parameters())
        place = open_executor(ExecutorConfig(executor, jobs, address), out)
        try:
            done = import_by_tasks(bags, out, settings, place, "surefoot:import_bag")
        finally:
            place.close()
        reports, failed = done.reports, [str(bag) for bag in done.failed]
    if json_output:
        print(json.dumps(reports))
    else:
        print_reports(reports, out)
    if failed:
        names = ", ".join(Path(bag).name for bag in failed)
        sys.exit(f"surefoot: {len(failed)} of {len(bags)} bags were not imported: {names}")


def import_bag(
    bag: str, out: str, image: Sequence[int], longest_gap: float, stamps: Any, robot: dict[str, Any] | None
) -> None:
    """The task of one bag, on whatever machine. robot: parameters, where the recorder's own do not count."""
    from agents.sweep.task import TaskError
    from robot.bag import BagError
    from robot.bag_episodes import ImportConfig
    from robot.bag_import import import_bags
    from robot.config import RobotConfig

    config = ImportConfig((image[0], image[1]), longest_gap=longest_gap, stamps=stamps)
    try:
        given = None if robot is None else RobotConfig.from_mapping(robot)
        import_bags([Path(bag)], Path(out), config, given, quiet=True)
    except (BagError, FileNotFoundError) as error:
        raise TaskError(str(error)) from error


def watch(
    source: Annotated[Path, tyro.conf.Positional],
    world: Literal["urban", "off-road"] = "urban",
    split: Literal["train", "validation", "test"] = "test",
    trip: int = 0,
    method: Literal["badgr", "straight", "lidar", "oracle", "random"] | None = None,
    episode: int = 0,
    model: Path | None = None,
    video: Path | None = None,
    picture: Path | None = None,
    save: Path | None = None,
    speed: float | None = None,
    chase: bool = True,
    settings: Set = (),
) -> None:
    """Show a rover driving: its camera with the ways it thinks of, the map, what it expects and what comes.

    Live in Rerun (pip install 'surefoot[watch]'), or as a video with --video drive.mp4.

    Args:
        source: Run or model file that drives a simulated trip; "baselines" for methods without a model;
            or a folder of recorded drives.
        world: Of a trip: which worlds.
        split: Of a trip: whose layouts; those of "test" nobody trains on.
        trip: Number of the trip, as `surefoot evaluate` counts them.
        method: Who drives the trip; by default the model, without one "straight".
        episode: Of recorded drives: which one, from 0; -1 is the last.
        model: Of recorded drives: a run or model file that says what it would have foretold.
        video: Write an .mp4 in place of showing it live; plays twice as fast as the drive.
        picture: With a video: also a .png of the moment in which most was to choose.
        save: Write an .rrd, which Rerun opens later.
        speed: Times as fast as it happens; by default 1 live, 2 in a video.
        chase: In a video: with a view from behind, where this machine has OpenGL.
        settings: Of a trip: any other setting, such as --set drive.planner.candidates=2048.
    """
    from agents.badgr.watch import View, watch

    views: list[View] = []
    if picture is not None and video is None:
        raise ValueError("--picture is a frame of the video: give --video too")
    if video is not None:
        from agents.badgr.watch_video import DriveVideo

        views.append(DriveVideo(video, speed or 2.0, chase=chase, picture=picture))
    if save is not None or video is None:
        from agents.badgr.watch_rerun import RerunView

        views.append(RerunView(save, speed or 1.0))
    path = source if str(source) == "baselines" else _find_run(source)
    print(
        watch(
            path, views, world=world, split=split, trip=trip, method=method, episode=episode, model=model,
            settings=settings,
        )
    )  # fmt: skip
    for file in (video, picture, save):
        if file is not None:
            print(file)


def export_lerobot(
    data: Annotated[Path, tyro.conf.Positional],
    out: Path,
    task: str = "drive to the goal without collisions",
    robot_type: str = "surefoot_rover",
    overwrite: bool = False,
) -> None:
    """Write recorded drives as a LeRobotDataset v3: parquet, video, statistics.

    Args:
        data: Folder of drives, of `surefoot collect` or `surefoot import`.
        out: New folder.
        task: What the robot was doing, in words.
        robot_type: Name of the robot in the dataset.
        overwrite: Replace what an earlier export wrote there.
    """
    from envs.lerobot import export_lerobot

    print(json.dumps(export_lerobot(data, out, task=task, robot_type=robot_type, overwrite=overwrite)))


def doctor(
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    quick: bool = False,
    robot: bool = False,
    config: Path | None = None,
    seconds: float = 5.0,
) -> None:
    """Say what this machine has, and the fix for what it lacks.

    Args:
        json_output: Print JSON instead of a table.
        quick: Leave out what takes seconds (measuring the environments).
        robot: Look at the robot's drivers, clocks and disk instead; they must be running.
        config: With --robot: parameter file of the robot.
        seconds: With --robot: how long its sensors are listened to.
    """
    from robot.doctor import checks, failures, print_table, to_json

    if robot:
        from robot.config import RobotConfig
        from robot.doctor_robot import robot_checks

        settings = RobotConfig() if config is None else RobotConfig.from_yaml(config)
        found = list(robot_checks(settings, seconds=seconds))
    else:
        found = checks(quick=quick)
    if json_output:
        print(to_json(found))
    else:
        print_table(found)
    sys.exit(failures(found) > 0)


def envs() -> None:
    """List the environments, with clip length and guide."""
    from rich.console import Console
    from rich.table import Table

    from envs.tasks import ENVIRONMENTS, task_info

    table = Table("environment", "clip", "what to prefer")
    for name in ENVIRONMENTS:
        task = task_info(name)
        table.add_row(name, f"{task.segment_steps} steps, {task.clip_seconds:.1f} s", task.guide)
    Console().print(table)


def train() -> None:
    """Train: `surefoot train preferences`, `rl`, `badgr`, `base` or `sidetuning`."""


def export() -> None:
    """Write recorded drives in the formats of others: `surefoot export lerobot`."""


def robot() -> None:
    """Run the robot's nodes: guard and its operator, and the simulated rover as ROS 2 topics."""


COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "train": train,
    "collect": collect,
    "label": label,
    "draw": draw,
    "shard": shard,
    "resume": resume,
    "evaluate": evaluate,
    "report": report,
    "sweep": sweep,
    "compare": compare,
    "watch": watch,
    "envs": envs,
    "doctor": doctor,
    "drive": drive,
    "import": import_bags,
    "export": export,
    "robot": robot,
}
TRAIN: dict[str, Callable[..., Any]] = {
    "preferences": train_preferences,
    "rl": train_rl,
    "badgr": train_badgr,
    "base": train_base,
    "sidetuning": train_sidetuning,
}
EXPORT: dict[str, Callable[..., Any]] = {"lerobot": export_lerobot}
OURS = {"envs", "agents", "robot", "surefoot", "__main__"}
ABOUT = (
    "Teach agents by comparing clips, train them in simulation, run them on a rover. "
    "Start with `surefoot demo`, or `surefoot doctor` to see what this machine has."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `surefoot` command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--ros-args" in words:  # what comes after it is for ROS: the robot's commands read it themselves
        words = words[: words.index("--ros-args")]
    commands, prog, about = COMMANDS, "surefoot", ABOUT
    if words[:1] == ["train"]:
        commands, prog, about, words = TRAIN, "surefoot train", str(train.__doc__), words[1:]
    elif words[:1] == ["robot"]:
        commands, prog, about, words = ROBOT, "surefoot robot", str(robot.__doc__), words[1:]
    elif words[:1] == ["export"]:
        commands, prog, about, words = EXPORT, "surefoot export", str(export.__doc__), words[1:]
    if not words:
        words = ["--help"]
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog=prog, description=about, args=words)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        if not _reader_is_gone():  # another pipe's, such as a worker's
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python must not try again at its end
        sys.exit(141)
    except Exception as error:
        # What our own code says to people is one line; anything else keeps its traceback.
        if not _is_ours(error):
            raise
        sys.exit(f"surefoot: {error}")


def _reader_is_gone() -> bool:
    """Whether who read our output, such as `head`, has read enough."""
    look = select.poll()
    look.register(1, 0)
    return any(what & select.POLLERR for _, what in look.poll(0))


def _is_ours(error: BaseException) -> bool:
    """Whether our own code raised it, with a message meant for people."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = str(trace.tb_frame.f_globals.get("__name__", "")) if trace is not None else ""
    return any(name.partition(".")[0] in OURS for name in (raised_in, type(error).__module__))


def _default_run(env: str, kind: str, seed: int) -> Path:
    return Path("runs") / f"{env.partition(':')[2] or env}-{kind}-{seed}"


def _find_run(run: Path) -> Path:
    if run != Path("last") or run.exists():
        return run
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise ValueError("there is no run in runs/ yet: start one with `surefoot demo`")
    return runs[-1].parent


if __name__ == "__main__":
    main()
