"""How many examples a property gets that plans whole fleets for each: a part of what the profile allows."""

from typing import Final

from hypothesis import settings

few: Final = settings(max_examples=settings().max_examples // 4)
fewer: Final = settings(max_examples=settings().max_examples // 8)
