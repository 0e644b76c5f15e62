"""A labelling database that is down, read-only, full, damaged, or of another version."""

import os
import runpy
import shutil
import sqlite3
import tempfile
import uuid
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agents.preferences.labelling import database
from agents.preferences.labelling.schema import metadata
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import LabellingError, NewLabel, UnavailableError

HERE = Path(__file__)
STUDY = runpy.run_path(str(HERE.with_name("label_study.py")))
STORES = runpy.run_path(str(HERE.with_name("label_stores.py")))
person, say = STUDY["person"], STUDY["say"]
cluster, stores, store, clock = (STORES[name] for name in ("cluster", "stores", "store", "clock"))
make_study = STORES["make_study"]


def begin(store, queries=5):
    """A study, somebody in it, and a label that they are about to send."""
    make_study(store, queries)
    who = person(store)
    known = say(store, who, store.offer(who, 1)[0].query)
    (offer,) = store.offer(who, 1)
    return who, known, NewLabel(str(uuid.uuid4()), offer.query, "left", 900)


def test_a_postgresql_that_stops_and_starts(tmp_path):
    """Stopped as by a power cut: what was acknowledged is there, what was not is sent again."""
    if not STORES["POSTGRES"]["BINARIES"]:
        pytest.skip(STORES["POSTGRES"]["MISSING"])
    with STORES["POSTGRES"]["cluster"]() as server:
        url = server.new_database()
        store = open_store(url)
        who, known, sent = begin(store)  # what was offered last may not be on the disk yet
        server.stop("immediate")
        for _ in range(2):
            with pytest.raises(UnavailableError, match=r"start PostgreSQL.*Nothing was stored"):
                store.answer(who, sent)
            with pytest.raises(UnavailableError):
                store.labels("study")
        with pytest.raises(UnavailableError, match="start PostgreSQL"):
            open_store(url)
        server.start()
        assert store.labels("study") == [known]
        assert store.answer(who, sent).uuid == sent.uuid
        server.stop("immediate")
        server.start()
        assert store.answer(who, sent).uuid == sent.uuid, "an old connection is replaced without a word"
        assert [label.uuid for label in store.labels("study")] == [known.uuid, sent.uuid]
        store.close()


def test_a_postgresql_that_became_read_only(cluster):
    url = cluster.new_database()
    store = open_store(url)
    who, known, sent = begin(store)
    name = sa.make_url(url).database
    run(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    store._database._engine.dispose()
    with pytest.raises(UnavailableError, match=r"read-only.*Nothing was stored"):
        store.answer(who, sent)
    assert store.labels("study") == [known]
    assert open_close(url) == ["study"], "what is there can be read, by a new server too"
    admin = sa.make_url(url).set(database="postgres").render_as_string()
    run(admin, f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    store._database._engine.dispose()
    assert store.answer(who, sent)
    store.close()


def open_close(url):
    store = open_store(url)
    found = [study.id for study in store.studies()]
    store.close()
    return found


def run(url, statement):
    address = sa.make_url(url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "disk is full"),
        ("53300", "takes no more connections"),
        ("57014", "over a minute"),
        ("42501", "lacks the right"),
        ("XX000", "cannot be used now"),
    ],
)
def test_what_postgresql_says_of_itself_is_told_with_what_helps(cluster, state, said):
    """The server itself raises the error, while it writes the answer."""
    url = cluster.new_database()
    store = open_store(url)
    who, known, sent = begin(store)
    run(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'out of luck' USING ERRCODE = '{state}'; END $$",
    )
    run(url, "CREATE TRIGGER fail AFTER INSERT ON label FOR EACH ROW EXECUTE FUNCTION fail()")
    with pytest.raises(UnavailableError, match=f"{said}.*Nothing was stored"):
        store.answer(who, sent)
    assert store.labels("study") == [known]
    run(url, "DROP TRIGGER fail ON label")
    assert store.answer(who, sent)
    store.close()


def test_a_sqlite_file_on_a_full_disk(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    who, known, sent = begin(store, 200)
    full = sa.event.listens_for(store._database._engine, "begin")
    full(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    failed = None
    for _ in range(190):  # the last pages have room for some
        try:
            store.answer(who, sent)
        except UnavailableError as error:
            failed = error
            break
        known = store.labels("study")[-1]
        sent = NewLabel(str(uuid.uuid4()), store.offer(who, 1)[0].query, "left", 900)
    assert "is full: free some space. Nothing was stored" in str(failed)
    assert store.labels("study")[-1] == known
    roomy = sa.event.listens_for(store._database._engine, "begin")
    roomy(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000"))
    assert store.answer(who, sent).uuid == sent.uuid
    store.close()


def test_a_sqlite_file_that_another_program_keeps_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    path = tmp_path / "labels.db"
    store = open_store(f"sqlite:///{path}")
    who, known, sent = begin(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match=r"locked by another program.*Nothing was stored"):
            store.answer(who, sent)
        assert store.labels("study") == [known], "reading goes on"
        other.execute("ROLLBACK")
    assert store.answer(who, sent)
    store.close()


def test_a_sqlite_file_that_may_not_be_written():
    """As nobody, who may read it alone; root may write everywhere."""
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder / 'labels.db'}"
    store = open_store(url)
    try:
        who, known, sent = begin(store)
        folder.chmod(0o555)
        (folder / "labels.db").chmod(0o444)
        with as_nobody():
            reader = open_store(url)
            assert reader.labels("study") == [known]
            with pytest.raises(UnavailableError, match=r"read-only: make .* writable.*Nothing was stored"):
                reader.answer(who, sent)
            assert reader.labels("study") == [known]
            reader.close()
        folder.chmod(0o755)
        assert store.answer(who, sent)
    finally:
        store.close()
        shutil.rmtree(folder)


class as_nobody:
    def __enter__(self):
        self.was = os.geteuid()
        if self.was == 0:
            os.seteuid(65534)

    def __exit__(self, *_):
        os.seteuid(self.was)


def test_a_sqlite_file_that_was_deleted_under_a_running_server(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    who, _, sent = begin(store)
    files = list(tmp_path.iterdir())
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in files:
        path.rename(kept / path.name)
    with pytest.raises(UnavailableError, match="moved or deleted"):
        store.answer(who, sent)
    other = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    make_study(other, 1)
    with pytest.raises(UnavailableError, match="replaced"):
        store.answer(who, sent)
    other.close()
    store.close()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none/labels.db", None, "folder must exist"),
        ("text.db", b"this is not a database at all" * 100, "not a SQLite database"),
    ],
)
def test_a_file_that_is_no_database(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LabellingError, match=said):
        open_store(f"sqlite:///{tmp_path / name}")
    if content is not None:
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "given as sqlite"),
        ("labels.db", "given as sqlite"),
        ("sqlite://", "need a file"),
        ("sqlite:///:memory:", "need a file"),
        ("mysql://host/name", "SQLite or PostgreSQL"),
        ("postgresql+asyncpg://host/name", "SQLite or PostgreSQL"),
    ],
)
def test_an_address_that_is_none(url, said):
    with pytest.raises(LabellingError, match=said):
        open_store(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_is_not_there_and_its_password_stays_secret(scheme, caplog):
    with pytest.raises(UnavailableError, match="start PostgreSQL") as caught:
        open_store(f"{scheme}://ann:hunter2@127.0.0.1:1/labels")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    assert "127.0.0.1" in str(caught.value)


def test_a_database_or_user_that_postgresql_does_not_have(cluster):
    with pytest.raises(UnavailableError, match="createdb"):
        open_store(cluster.url("nothing"))
    with pytest.raises(UnavailableError, match="PGPASSWORD"):
        open_store(cluster.url("postgres").replace("tester@", "stranger@"))


# -- versions -----------------------------------------------------------------------------------------


def execute(store, statement):
    store._database.write(lambda connection: connection.exec_driver_sql(statement))


def test_the_migrations_make_the_tables_that_the_code_uses(store):
    options = {"compare_type": True, "compare_server_default": True}
    with store._database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_tables_are_made_once_and_what_is_in_them_stays(stores):
    first = stores()
    make_study(first, 3)
    assert stores().studies() == first.studies()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(stores):
    store = stores()
    make_study(store, 1)
    execute(store, "UPDATE alembic_version SET version_num = '9999'")
    execute(store, "ALTER TABLE study ADD COLUMN colour TEXT")
    with pytest.raises(LabellingError, match=r"newer version of surefoot \(its tables are 9999"):
        open_store(stores.url)
    columns = sa.inspect(store._database._engine).get_columns("study")
    assert "colour" in {column["name"] for column in columns}


def test_a_migration_that_fails_leaves_nothing_behind(stores):
    """Something else has a table of one of our names."""
    other = database.Database(stores.url)
    if other.is_sqlite:
        other.use_wal()
    other.write(lambda connection: connection.exec_driver_sql("CREATE TABLE label (x INTEGER)"))
    with pytest.raises(UnavailableError):
        open_store(stores.url)
    names = sa.inspect(other._engine).get_table_names()
    assert set(names) <= {"label", "alembic_version"}
    other.close()
