"""Write a random VLM as a checkpoint of transformers, as the authors of its family publish theirs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.random_vlm.files import RandomVlm
from emo_edge.benchmarks.random_vlm.vocabulary import CONTROL, Vocabulary
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME
from emo_edge.utils.files import write_json


def write_checkpoint(vlm: RandomVlm, folder: Path) -> None:
    """Write weights, configuration, tokenizer and preprocessor into a new folder."""
    vlm.model.save_pretrained(folder)
    if vlm.published:
        save_file(vlm.published(vlm.model.state_dict()), folder / "model.safetensors", {"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    special = {"bos_token_id": vlm.vocabulary.begin, "eos_token_id": vlm.vocabulary.end}
    write_json(path, _merged(_merged(config, vlm.released), {**special, "text_config": special}))
    write_json(
        folder / "preprocessor_config.json",
        {"image_mean": [vlm.mean] * 3, "image_std": [vlm.deviation] * 3, **vlm.preprocessor},
    )
    _write_tokenizer(vlm, folder)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(values[key], value) for key, value in changes.items() if isinstance(values.get(key), dict)}
    return {**values, **changes, **inner}


def _write_tokenizer(vlm: RandomVlm, folder: Path) -> None:
    vocabulary = vlm.vocabulary
    if vocabulary.merges:
        _byte_level(vocabulary).save(str(folder / "tokenizer.json"))
    else:
        shutil.copyfile(packaged_checkpoint("emo-tiny") / LANGUAGE_MODEL_NAME, folder / LANGUAGE_MODEL_NAME)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast" if vocabulary.merges else "LlamaTokenizer",
            "bos_token": vocabulary.tokens[vocabulary.begin],
            "eos_token": vocabulary.tokens[vocabulary.end],
            "add_bos_token": vocabulary.add_begin,
            "chat_template": vlm.chat_template,
            "added_tokens_decoder": {
                str(index): {"content": vocabulary.tokens[index], "special": True, "normalized": False}
                for index in vocabulary.added
            },
        },
    )


def _byte_level(vocabulary: Vocabulary) -> Any:
    """Return the tokenizer of byte merges, in Hugging Face's own implementation."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    plain = {token: index for index, token in enumerate(vocabulary.tokens) if vocabulary.types[index] != CONTROL}
    merges = [tuple(pair.split(" ")) for pair in vocabulary.merges]
    tokenizer = Tokenizer(models.BPE(vocab=plain, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(vocabulary.tokens[index], special=True, normalized=False) for index in vocabulary.added]
    )
    return tokenizer
