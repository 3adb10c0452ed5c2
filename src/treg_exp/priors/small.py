"""What the small priors of this project have in common: vocabulary by bytes, schedule, preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

START, END = "<|startoftext|>", "<|endoftext|>"

#: Marks a piece that ends a word.
WORD_END = "</w>"

#: What the image encoder expects of [0, 1] pictures; for pictures in [-1, 1] it means: as they are.
PREPROCESSOR = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": 64, "do_resize": True}


def byte_pair_tokenizer(merges: Sequence[tuple[str, str]], length: int) -> Any:
    """A CLIPTokenizer of bytes, inside and at the end of a word, and of merged pieces: it knows any text.

    Args:
        merges: pairs of pieces in the order to apply them; none leaves bytes.
        length: tokens per prompt, both special ones included.
    """
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + WORD_END for letter in letters), *(left + right for left, right in merges)]
    # The special tokens come last, as in the original CLIP vocabulary.
    vocabulary = {piece: index for index, piece in enumerate([*dict.fromkeys(pieces), START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=length)


def training_scheduler(prediction: str = "epsilon") -> DDIMScheduler:
    """The noise schedule and sampler settings of Stable Diffusion 1.5.

    Args:
        prediction: what the denoiser predicts, ``epsilon`` or ``v_prediction`` (as Stable Diffusion 2.1 does).
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction,
    )
