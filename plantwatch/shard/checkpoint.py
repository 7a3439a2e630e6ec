"""How far one shard has come: taken, written, checkpointed, and never a checkpoint ahead of what is written.

        take(p)            write()               checkpoint()
    ----------------> taken ----------> written -------------> checkpointed

`taken` moves with every record (its alerts are out, its row is still in memory), `written` with every flush (all that
was taken is durable), `checkpointed` when the daemon has confirmed it. Pure; positions only ever grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

_SEQUENCE_DIGITS: Final = 56


@dataclass(frozen=True, order=True)
class Position:
    """A record's place in its shard. Sequence numbers are numbers: as text "9" would follow "10".

    `sub_sequence` orders the records that the daemon took out of one aggregated record; 0 for all others. `text` is the
    sequence number as the stream wrote it, which is how a checkpoint gives it back.
    """

    sequence: int
    sub_sequence: int = 0
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As part of an object's name; 56 digits, as Kinesis has them, so that names sort as positions do."""
        text = f"{self.sequence:0{_SEQUENCE_DIGITS}d}"
        return f"{text}.{self.sub_sequence}" if self.sub_sequence else text


# What the state of a shard covers that has ended: everything. It is what the shards begin with that it became.
SHARD_END: Final = "SHARD_END"
# After every record that a shard can have.
END: Final = Position(10**_SEQUENCE_DIGITS - 1, text=SHARD_END)


def covered(covers: str) -> Position:
    """The last record that a state covers, from the name that the state was saved under."""
    if covers == SHARD_END:
        return END
    sequence, _, sub_sequence = covers.partition(".")
    return Position(int(sequence), int(sub_sequence or 0), str(int(sequence)))


def parse_position(sequence: str | None, sub_sequence: int | None) -> Position | None:
    """Where the daemon says that a shard starts; None for its beginning (TRIM_HORIZON and the like)."""
    if sequence is None or not sequence.isdigit():
        return None
    return Position(int(sequence), sub_sequence or 0, sequence)


@dataclass(frozen=True)
class Progress:
    """The three marks of one shard; None before the first record."""

    taken: Position | None = None
    written: Position | None = None
    checkpointed: Position | None = None

    @classmethod
    def starting_at(cls, checkpoint: Position | None) -> Progress:
        return cls(checkpoint, checkpoint, checkpoint)

    def is_new(self, position: Position) -> bool:
        """Whether the record was not taken before (a daemon may deliver a batch again)."""
        return self.taken is None or position > self.taken

    def take(self, position: Position) -> Progress:
        assert self.is_new(position), f"{position} is not after {self.taken}"
        return replace(self, taken=position)

    def write(self) -> Progress:
        """Everything taken is durable now."""
        return replace(self, written=self.taken)

    def checkpoint(self) -> Progress:
        """The daemon has confirmed what was due."""
        return replace(self, checkpointed=self.written)

    @property
    def due(self) -> Position | None:
        """What may be checkpointed and is not yet."""
        return self.written if self.written != self.checkpointed else None

    @property
    def unwritten(self) -> bool:
        return self.taken != self.written
