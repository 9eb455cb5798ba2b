"""What `import jobengine` gives is listed, sorted and documented."""

from __future__ import annotations

import inspect
import types

import pytest

import jobengine


def test_all_lists_exactly_the_public_names() -> None:
    public = {
        name
        for name, value in vars(jobengine).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(jobengine.__all__) == public


def test_all_lists_each_name_once() -> None:
    assert len(set(jobengine.__all__)) == len(jobengine.__all__)


@pytest.mark.parametrize(
    "name", [name for name in jobengine.__all__ if inspect.isclass(vars(jobengine)[name])]
)
def test_a_public_class_and_its_methods_are_documented(name: str) -> None:
    kind = vars(jobengine)[name]
    methods = {member: value for member, value in vars(kind).items() if inspect.isfunction(value)}
    assert [
        member
        for member, value in methods.items()
        if not member.startswith("_") and not inspect.getdoc(value)
    ] == []
    # A dataclass without a docstring has its signature for one.
    assert not (vars(kind)["__doc__"] or f"{name}(").startswith(f"{name}(")
