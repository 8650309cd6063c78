"""Size classes."""

from __future__ import annotations

from splinter import limits
from splinter.store.classes import class_bytes, class_for, class_units, magazine_slots, slots_per_slab
from splinter.store.layout import CLASS_BYTES, CLASSES, OBJECT_BYTES, UNIT_BYTES


def test_classes_are_two_to_each_power_of_two():
    assert [class_bytes(size_class) for size_class in range(CLASSES)] == CLASS_BYTES
    assert CLASS_BYTES[:7] == [64, 96, 128, 192, 256, 384, 512]


def test_a_size_gets_the_smallest_class_that_holds_it():
    for size_class in range(CLASSES):
        size = CLASS_BYTES[size_class]
        assert class_for(size) == size_class
        assert class_for(size - 1) == size_class
        if size_class < CLASSES - 1:
            assert class_for(size + 1) == size_class + 1


def test_the_largest_object_has_a_class():
    assert class_for(OBJECT_BYTES + limits.KEY_BYTES_MAX + limits.VALUE_BYTES_MAX) == CLASSES - 1


def test_slots_fit_their_slab_and_their_units():
    for size_class in range(CLASSES):
        assert class_units(size_class) * UNIT_BYTES == class_bytes(size_class)
        assert slots_per_slab(size_class) >= 1
        assert slots_per_slab(size_class) * class_bytes(size_class) <= limits.SLAB_BYTES
        assert 1 <= magazine_slots(size_class) <= slots_per_slab(size_class)
