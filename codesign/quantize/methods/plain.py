"""The plain methods: an observer for every tensor and no more, each under its observer's name."""

from codesign.quantize.observers import OBSERVERS
from codesign.quantize.recipe import METHODS, Recipe

for _name in OBSERVERS.names():
    METHODS.register(_name)(Recipe(observer=_name))
