"""Numbers that look random and depend on nothing but where they are asked for."""

from __future__ import annotations


def hash3(a: int, b: int, c: int) -> int:
    """32 well mixed bits of three integers."""
    h = (a * 374761393 + b * 668265263 + c * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return h ^ (h >> 13)


def unit(bits: int) -> float:
    """The lowest 10 bits as a number from 0 to 1."""
    return (bits & 1023) * (1.0 / 1023.0)
