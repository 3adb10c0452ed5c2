"""Everything that text does to a restoration, handed to a solver as one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Number, Prediction
from treg_exp.text.condition import TextCondition, Texts, check_unicode
from treg_exp.text.guidance.base import Guidance, mixed
from treg_exp.text.guidance.cfgpp import CFGPlusPlus
from treg_exp.text.guidance.composed import ComposedGuidance
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.match.base import NoTextMatch, TextMatch
from treg_exp.text.null_text.base import NullText
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.prompt_rule import FixedPromptRule, PreparingPromptRule, PromptRule
from treg_exp.text.state import StepState

MOST_WEIGHT = 100  # what is above is a slip
NULL_AT_ZERO = (ConstantGuidance, ComposedGuidance, CFGPlusPlus)  # rules that ask the null text alone at scale 0


@dataclass(frozen=True)
class TextPolicy:
    """Four slots and a weight. A solver calls ``prepare``, ``predict`` and ``update``, and nothing else of text.

    Attributes:
        guidance: how the predictions for prompt and null text are mixed.
        null_text: what stands against the prompt, and how it moves.
        prompt_rule: how the prompt moves.
        text_match: what pulls the estimate towards the prompt.
        weight: how much of guidance and text match counts: 0 is the null text alone, so that the measurement decides,
            1 the rules as they are, more goes on along the same line. All but 0 and 1 cost a further evaluation a step.
    """

    guidance: Guidance = field(default_factory=ConstantGuidance)
    null_text: NullText = field(default_factory=FixedNullText)
    prompt_rule: PromptRule = field(default_factory=FixedPromptRule)
    text_match: TextMatch = field(default_factory=NoTextMatch)
    weight: float = 1.0

    def __post_init__(self) -> None:
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not number or not 0 <= self.weight <= MOST_WEIGHT:
            allowed = f"must be a number in [0, {MOST_WEIGHT}] (0: the null text alone, 1: the rules as they are)"
            raise FieldError("weight", self.weight, allowed)

    @property
    def slots(self) -> dict[str, Guidance | NullText | PromptRule | TextMatch]:
        """The rules by the name of their slot."""
        return {name: getattr(self, name) for name in ("guidance", "null_text", "prompt_rule", "text_match")}

    @property
    def reads_prompt(self) -> bool:
        """Whether anything but the null text is ever asked."""
        null_only = isinstance(self.guidance, NULL_AT_ZERO) and self.guidance.scale == 0
        return self.weight > 0 and not (null_only and isinstance(self.text_match, NoTextMatch))

    @property
    def reads_null(self) -> bool:
        """Whether anything but the prompt is ever asked."""
        prompt_only = isinstance(self.guidance, ConstantGuidance) and self.guidance.scale == 1
        return self.weight != 1 or not prompt_only

    @property
    def without_text(self) -> bool:
        """Whether only the prompt's branch is asked and no text moves: an empty prompt then means *without text*."""
        return (
            not self.reads_null
            and isinstance(self.null_text, FixedNullText)
            and isinstance(self.prompt_rule, FixedPromptRule)
            and isinstance(self.text_match, NoTextMatch)
        )

    @property
    def roles(self) -> set[str]:
        """Roles of the texts that a rule reads beside prompt and null text; it says so in ``roles``."""
        return {role for rule in self.slots.values() for role in getattr(rule, "roles", ())}

    def check(self, info: PriorInfo, texts: Sequence[Texts] = ()) -> None:
        """Refuse rules and texts that a prior cannot follow.

        Args:
            info: of the prior.
            texts: of every sample, by role.

        Raises:
            FieldError: a rule lacks what it needs, or a text that it reads; a text is no Unicode; or there is a prompt
                that nothing reads, or a null text, and the prior has no text encoder.
        """
        for role in texts[0] if texts else ():
            check_unicode("prompt" if role == "prompt" else f"texts.{role}", {of_one[role] for of_one in texts})
        if info.text_layout is None:
            only_empty = "the prior has no text encoder; only the empty text works"
            told = sorted({text for of_one in texts for text in of_one.values() if text})
            if told and isinstance(self.text_match, NoTextMatch):
                raise FieldError("prompt", repr(told[0]), only_empty)
            if self.null_text.text:
                raise FieldError("null_text.text", repr(self.null_text.text), only_empty)
        for slot, rule in self.slots.items():
            for name, value in getattr(rule, "__dict__", {}).items():
                check_unicode(f"{slot}.{name}", value if isinstance(value, list | tuple) else [value])
            for role, name in getattr(rule, "roles", {}).items() if texts else ():
                if role not in texts[0]:
                    raise FieldError(
                        f"{slot}.{name}", getattr(rule, name), f"no text has the role {role}; add one: "
                        f"'+prompt@texts.{role}=fixed' texts.{role}.text=..."
                    )  # fmt: skip
            try:
                rule.check(info)
            except FieldError as error:
                raise error.at(slot) from error

    def start(self, prior: Prior, texts: Sequence[Texts]) -> TextCondition:
        """Embed the texts of every sample; each distinct text is embedded once. Without a text encoder words remain.

        Args:
            prior: embeds them.
            texts: of each sample by role, ``prompt`` among them and the same roles for all; one without ``null`` gets
                the null-text rule's.
        """
        complete = [{"null": self.null_text.text, **of_one} for of_one in texts]
        if prior.text is None:
            nothing = TextEmbedding.nothing(len(complete))
            return TextCondition(nothing, nothing, words=tuple(complete))
        distinct = sorted({text for of_one in complete for text in of_one.values()})
        table, place = prior.text.embed(distinct), {text: i for i, text in enumerate(distinct)}

        def embedded(role: str) -> TextEmbedding:
            return table[[place[of_one[role]] for of_one in complete]]

        others = {role for role in complete[0] if role not in ("prompt", "null")}
        others_embedded = {role: embedded(role) for role in sorted(others)}
        return TextCondition(embedded("prompt"), embedded("null"), others_embedded, tuple(complete))

    @property
    def moves_text(self) -> bool:
        """Whether null text or prompt may move: ``update`` looks at a data-consistent signal then."""
        return not (isinstance(self.null_text, FixedNullText) and isinstance(self.prompt_rule, FixedPromptRule))

    def prepare(
        self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, misfit: Callable[[Tensor], Tensor]
    ) -> TextCondition:
        """The text that a step which looks at the measurement is predicted with; most rules leave it as it is.

        Args:
            prior: the diffusion model.
            z_t: (B, *latent_shape) the latent that the step begins with.
            level: its noise level.
            text: of the step before.
            misfit: see ``StepState``.
        """
        if not isinstance(self.prompt_rule, PreparingPromptRule) or not self.reads_prompt:
            return text
        return self.prompt_rule.prepare(prior, z_t, level, text, misfit)

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """Estimates at one level that follow the text; a prior without text has nothing to be guided by."""
        unguided = prior.text is None
        if self.weight == 0:
            return prior.predict(z_t, level, None if unguided else text.null)
        at = prior.predict(z_t, level) if unguided else self.guidance.predict(prior, z_t, level, text)
        pulled = self.text_match.pull(prior, z_t, level, text, at)
        if self.weight == 1:
            return pulled
        null = at if unguided else prior.predict(z_t, level, text.null)
        return Prediction(mixed(null.z_0, pulled.z_0, self.weight), mixed(null.eps, pulled.eps, self.weight))

    def scale_at(self, level: Level) -> Number | None:
        """How strongly the prompt counts at a level: the scale of guidance, times the weight.

        None for a rule that has neither ``scale_at`` nor a ``scale``.
        """
        at = getattr(self.guidance, "scale_at", None)
        scale: Number | None = getattr(self.guidance, "scale", None) if at is None else at(level)
        return None if scale is None else self.weight * scale

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """The text of the next step, after a step that looked at the measurement."""
        text = self.null_text.update(prior, text, state)
        return self.prompt_rule.update(prior, text, state)
