"""Command line: `python -m sentor_training STAGE`."""

from __future__ import annotations

import argparse
import importlib

STAGES = {
    "fetch": "download and unpack the pretrained bases",
    "prepare": "cut the base to the student's shape, group the data by text",
    "train": "fine-tune a teacher, or a student with fake quantisation at the end; resumable",
    "label": "let a trained teacher score a student's training targets; resumable",
    "carry": "let a trained English teacher score sentences that have a Dutch twin, for the Dutch student",
    "calibrate": "fit the temperature on dev",
    "export": "write the int8 model folder and the reference file, and check both",
    "teach-embed": "carry the English embedding model over to Dutch; resumable",
    "embed": "write the int8 folder of an embedding model, and check it",
    "evaluate": "accuracy and macro-F1 per data set, with ONNX Runtime",
    "robustness": "labels kept when names, case or distractors change, with ONNX Runtime",
    "convert": "turn labelled texts in CSV, brackets or Label Studio's form into the JSON Lines that finetune reads",
    "finetune": "go on training a shipped model with texts of your own, and export the result",
    "card": "write the model card and the calibration plot",
}


def main() -> None:
    """Parse the stage and its options, and run it."""
    parser = argparse.ArgumentParser(prog="sentor-training", description="Makes sentor's models, stage by stage.")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, help_text in STAGES.items():
        module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
        stage = stages.add_parser(name, help=help_text, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(stage)
        stage.set_defaults(run=module.run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
