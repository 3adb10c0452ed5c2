"""Prompts from vague to exact, for the question of how much a text has to say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from treg_exp.data.listing import first_few
from treg_exp.data.prompts import PromptRule, Texts
from treg_exp.errors import FieldError

ROLE = re.compile(r"\{(\w+)\}")


class PromptLadder(PromptRule):
    """One rung of a list of templates that say more and more.

    Args:
        rungs: templates, from vague to exact; ``{role}`` is replaced by the sample's text in that role.
        rung: which of them, from 0.
    """

    def __init__(self, rungs: Sequence[str], rung: int) -> None:
        if isinstance(rungs, str) or not rungs or not all(isinstance(template, str) for template in rungs):
            raise FieldError("rungs", rungs, "must be a list of texts, as ['', '{category}', '{caption}']")
        if isinstance(rung, bool) or not isinstance(rung, int) or not 0 <= rung < len(rungs):
            shown = first_few([repr(template) for template in rungs])
            raise FieldError("rung", rung, f"must be a whole number from 0 to {len(rungs) - 1}: {shown}")
        self.template = rungs[rung]

    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """See ``Prompt``."""
        roles = self._roles()
        return [self._filled(texts) if all(map(texts.get, roles)) else None for _, texts in samples]

    def lack(self, missing: Sequence[str], samples: Texts) -> FieldError:
        """See ``PromptRule``."""
        wanted = ", ".join(sorted(self._roles()))
        return FieldError(
            "rungs", self.template, f"the data lacks one of the texts {wanted} for {len(missing)} of "
            f"{len(samples)} samples: {first_few(missing)}"
        )  # fmt: skip

    def _roles(self) -> set[str]:
        return set(ROLE.findall(self.template))

    def _filled(self, texts: Mapping[str, str]) -> str:
        return ROLE.sub(lambda match: texts[match[1]], self.template)
