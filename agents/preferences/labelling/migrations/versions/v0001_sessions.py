"""The tables of the first version."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def where(rows: str) -> dict[str, Any]:
    """The rows that an index holds."""
    return {"sqlite_where": sa.text(rows), "postgresql_where": sa.text(rows)}


Counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("env", sa.String(), nullable=False),
        sa.Column("guide", sa.String(), nullable=False),
        sa.Column("display_fps", sa.Integer(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("lease_seconds", sa.Float(), nullable=False),
        sa.Column("overlap_share", sa.Float(), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("repeat_share", sa.Float(), nullable=False),
        sa.Column("gold_share", sa.Float(), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
    )
    op.create_table(
        "annotator",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name=op.f("fk_annotator_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotator")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_annotator_token_hash")),
    )
    op.create_index(op.f("ix_annotator_study"), "annotator", ["study"], unique=False)
    op.create_table(
        "reward_version",
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name=op.f("fk_reward_version_study")),
        sa.PrimaryKeyConstraint("study", "version", name=op.f("pk_reward_version")),
    )
    op.create_table(
        "run_event",
        sa.Column("id", Counter, autoincrement=True, nullable=False),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("media", sa.String(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name=op.f("fk_run_event_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_event")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_run_event_study_kind_id"), "run_event", ["study", "kind", "id"], unique=False)
    op.create_index(op.f("ix_run_event_study_media"), "run_event", ["study", "media"], unique=False)
    op.create_table(
        "segment",
        sa.Column("id", Counter, autoincrement=True, nullable=False),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("env", sa.String(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("fps", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("media", sa.String(), nullable=True),
        sa.Column("frames", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("content_type", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name=op.f("fk_segment_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
        sa.UniqueConstraint("study", "source", name=op.f("uq_segment_study_source")),
    )
    op.create_index(op.f("ix_segment_study_media"), "segment", ["study", "media"], unique=False)
    op.create_table(
        "query",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("pair", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=True),
        sa.Column("gold", sa.String(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("left_segment", Counter, nullable=False),
        sa.Column("right_segment", Counter, nullable=False),
        sa.Column("chosen_by", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reward_version", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("left_reward", sa.JSON(), nullable=False),
        sa.Column("right_reward", sa.JSON(), nullable=False),
        sa.Column("clips", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["annotator"], ["annotator.id"], name=op.f("fk_query_annotator")),
        sa.ForeignKeyConstraint(["left_segment"], ["segment.id"], name=op.f("fk_query_left_segment")),
        sa.ForeignKeyConstraint(["right_segment"], ["segment.id"], name=op.f("fk_query_right_segment")),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name=op.f("fk_query_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_query")),
    )
    op.create_index(op.f("ix_query_left_segment"), "query", ["left_segment"], unique=False)
    op.create_index(
        "ix_query_open",
        "query",
        ["study", "kind", sa.text("priority DESC"), "number"],
        **where("closed IS NULL"),
    )
    op.create_index(op.f("ix_query_right_segment"), "query", ["right_segment"], unique=False)
    op.create_index("ix_query_counted", "query", ["study", "kind", "closed_by", "ready", "answers"])
    op.create_index("uq_query_gold", "query", ["study", "key"], unique=True, **where("kind = 'gold'"))
    op.create_index("uq_query_repeat", "query", ["annotator", "key"], unique=True, **where("kind = 'repeat'"))
    op.create_index("uq_query_train", "query", ["study", "key"], unique=True, **where("kind = 'train'"))
    op.create_table(
        "label",
        sa.Column("seq", Counter, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("query", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("choice", sa.String(), nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=False),
        sa.Column("shown_ms", sa.BigInteger(), nullable=False),
        sa.Column("loops", sa.Float(), nullable=False),
        sa.Column("speed", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("server_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retracts", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["annotator"], ["annotator.id"], name=op.f("fk_label_annotator")),
        sa.ForeignKeyConstraint(["query"], ["query.id"], name=op.f("fk_label_query")),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name=op.f("fk_label_study")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_label")),
        sa.UniqueConstraint("retracts", name=op.f("uq_label_retracts")),
        sa.UniqueConstraint("uuid", name=op.f("uq_label_uuid")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_label_annotator_seq"), "label", ["annotator", "seq"], unique=False)
    op.create_index("ix_label_skip", "label", ["study"], **where("choice = 'skip'"))
    op.create_index(op.f("ix_label_query"), "label", ["query"], unique=False)
    op.create_index(op.f("ix_label_study_seq"), "label", ["study", "seq"], unique=False)
    op.create_table(
        "lease",
        sa.Column("query", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("pair", sa.String(), nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=False),
        sa.Column("issued", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released", sa.DateTime(timezone=True), nullable=True),
        sa.Column("skipped", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["annotator"], ["annotator.id"], name=op.f("fk_lease_annotator")),
        sa.ForeignKeyConstraint(["query"], ["query.id"], name=op.f("fk_lease_query")),
        sa.PrimaryKeyConstraint("query", "annotator", name=op.f("pk_lease")),
    )
    op.create_index(op.f("ix_lease_annotator_pair"), "lease", ["annotator", "pair"], unique=False)
    op.create_index("ix_lease_held", "lease", ["annotator"], **where("answer IS NULL AND released IS NULL"))
    op.create_index("ix_lease_skipped", "lease", ["annotator"], **where("skipped IS NOT NULL"))
    op.create_index("ix_lease_running", "lease", ["expires"], **where("answer IS NULL AND released IS NULL"))
