"""Writes a trained decoder as a Hugging Face folder: `python -m models.training.save fable-relu --run <folder>`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from models.decoder import Decoder
from models.errors import EdgeError
from models.training.corpus import END_OF_TEXT, end_of_text
from models.training.formats import config_of, stored_weights
from models.training.train import open_state, read_log

ZOO = Path("models/zoo")
TRAINING_LOG = "training.jsonl"


def save_folder(decoder: Decoder, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes all files that transformers and Edge need to run the decoder, with weights in float16."""
    end = end_of_text(tokenizer)
    config = config_of(decoder.spec, end)
    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: weight.detach().float().numpy() for name, weight in decoder.state_dict().items()}
    stored = {name: weight.astype(np.float16) for name, weight in stored_weights(decoder.spec, ours).items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # save_file makes it readable for its owner only
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"bos_token_id": end, "eos_token_id": end, "do_sample": False})
    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "model_max_length": decoder.spec.context}
    _write(folder / "tokenizer_config.json", special | {"tokenizer_class": "PreTrainedTokenizerFast"})
    tokenizer.save(str(folder / "tokenizer.json"))


def _write(file: Path, keys: dict[str, Any]) -> None:
    file.write_text(json.dumps(keys, indent=2, sort_keys=True) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.save", description=__doc__)
    parser.add_argument("name", help="name of the bundled model")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run, finished or not")
    parser.add_argument("--work", type=Path, default=Path(".training/corpus"), help="folder of the tokenizer")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    chosen = parser.parse_args(arguments)
    try:
        state = open_state(chosen.run)
        save_folder(state.decoder, Tokenizer.from_file(str(chosen.work / "tokenizer.json")), chosen.zoo / chosen.name)
        log = "".join(f"{json.dumps(line)}\n" for line in read_log(chosen.run) if line["step"] <= state.step)
        (chosen.zoo / chosen.name / TRAINING_LOG).write_text(log)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
