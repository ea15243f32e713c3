"""The command line: one function a verb, and PaddleX's flag style. Everything heavy is imported when it is needed."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from eyas.commands import Asked, Lookup, convert_model, copy_pipeline, list_models, pip_line, predict_inputs, run_mode
from eyas.compat import rename_flags
from eyas.dataset_commands import dataset
from eyas.errors import ConfigError
from eyas.gallery_commands import gallery
from eyas.terminal import Format, exit_codes, messages, say

DEFAULT_CONFIG = "PP-YOLOE_plus_SOD-XS-P2"

EPILOG = "Flags may be written with - or _ between words."

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)

app.add_typer(dataset, name="dataset")
app.add_typer(gallery, name="gallery")

Config = Annotated[str | None, typer.Option("-c", "--config", help="configuration file, or a model's name")]
Overrides = Annotated[list[str] | None, typer.Option("-o", "--override", help="Section.key=value, may be repeated")]
Pipeline = Annotated[str | None, typer.Option("--pipeline", help="pipeline name or file")]
Input = Annotated[str | None, typer.Option("--input", help="picture, folder, PDF or URL")]
Model = Annotated[str | None, typer.Option("--model", "--model_name", help="name of a model, see eyas models")]
ModelDir = Annotated[str | None, typer.Option("--model_dir", help="folder of your own model")]
Threshold = Annotated[
    str | None, typer.Option("--threshold", "--det_threshold", help="lowest score, or {class: score, ...}")
]
SavePath = Annotated[str | None, typer.Option("--save_path", help="folder for pictures and JSON files")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, gpu, gpu:0, gpu:0,1; without it a GPU if usable")]
BatchSize = Annotated[int | None, typer.Option("--batch_size", min=1, help="images in one run of the network")]
Engine = Annotated[str | None, typer.Option("--engine", help="openvino or onnxruntime")]
UseHpip = Annotated[bool, typer.Option("--use_hpip", help="run the network as --hpi_config says")]
HpiConfig = Annotated[str | None, typer.Option("--hpi_config", help="{backend: openvino, ...}")]
LabelsFlag = Annotated[
    Literal["auto", "always", "never"], typer.Option("--labels", help="which labels saved pictures carry")
]
Index = Annotated[str | None, typer.Option("--index", "--index_dir", help="folder of the gallery to look things up in")]
Detector = Annotated[
    str | None, typer.Option("--detector", help="what finds the objects: a name, a folder, or none: the whole picture")
]
RecThreshold = Annotated[
    str | None, typer.Option("--rec_threshold", help="least score of a match, or calibrated: the gallery's own")
]
RecTopk = Annotated[int | None, typer.Option("--rec_topk", min=1, help="matches for each object")]
Where = Annotated[list[str] | None, typer.Option("--where", help="metadata of matches: key=value, key<3, ...")]
Evidence = Annotated[bool, typer.Option("--evidence", help="say for each object which gallery pictures, and why")]
Output = Annotated[Format, typer.Option("--format", help="how results are written to stdout")]
PipelineToCopy = Annotated[
    str | None, typer.Option("--get_pipeline_config", help="write the file of that pipeline into --save_path")
]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="overwrite without asking")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="more messages, and tracebacks")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="warnings and errors only")]


@app.callback(invoke_without_command=True)
def flags(  # noqa: PLR0913 - one parameter a flag
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    pipeline: Pipeline = None,
    input: Input = None,
    model: Model = None,
    model_dir: ModelDir = None,
    threshold: Threshold = None,
    save_path: SavePath = None,
    device: Device = None,
    batch_size: BatchSize = None,
    engine: Engine = None,
    use_hpip: UseHpip = False,
    hpi_config: HpiConfig = None,
    index: Index = None,
    detector: Detector = None,
    labels: LabelsFlag = "auto",
    form: Output = Format.text,
    get_pipeline_config: PipelineToCopy = None,
    yes: Yes = False,
    install: Annotated[str | None, typer.Option("--install", help="print the pip line that brings an extra")] = None,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Find small objects in pictures: train, evaluate, export, predict."""
    if context.invoked_subcommand is not None:
        refuse_early_flags(context)
        return
    inputs = () if input is None else (input,)
    asked = Asked(
        inputs, pipeline, model, model_dir, threshold, device, batch_size, engine, use_hpip, hpi_config, save_path,
        labels, form, Lookup(index, detector),
    )  # fmt: skip
    with exit_codes(verbose, quiet):
        if version:
            say(f"eyas {import_module('eyas').__version__}")
        elif install is not None:
            say(pip_line(install))
        elif get_pipeline_config is not None:
            say(str(copy_pipeline(get_pipeline_config, Path(save_path or "."), yes)))
        elif config is not None:
            run_mode(config, [*(overrides or ()), *asked.overrides()], None, form)
        elif pipeline is not None or input is not None:
            predict_inputs(asked)
        else:
            sys.stderr.write(context.get_help() + "\n")
            raise typer.Exit(ConfigError.exit_code)


@app.command(epilog=EPILOG)
def train(
    config: Config = None,
    overrides: Overrides = None,
    allow_faulty: Annotated[
        bool, typer.Option("--allow_faulty", help="leave out what is faulty in the dataset, and say what")
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a network; writes weights, a bundle and logs into Global.output."""
    with exit_codes(verbose, quiet):
        extra = ["CheckDataset.allow_faulty=True"] if allow_faulty else []
        run_mode(config, [*(overrides or ()), *extra], "train")


@app.command("check", epilog=EPILOG)
@app.command("check_dataset", epilog=EPILOG)
def check_dataset(
    dataset: Annotated[str | None, typer.Argument(metavar="DATASET", help="Global.dataset_dir")] = None,
    config: Config = None,
    overrides: Overrides = None,
    save_path: Annotated[str | None, typer.Option("--save_path", help="Global.output")] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Look for faults in a dataset; writes check_dataset_result.json and a report into Global.output."""
    given = {"Global.dataset_dir": dataset, "Global.output": save_path}
    with exit_codes(verbose, quiet):
        whole = [*(overrides or ()), *(f"{key}={value}" for key, value in given.items() if value)]
        run_mode(config or DEFAULT_CONFIG, whole, "check_dataset")


@app.command(epilog=EPILOG)
def evaluate(  # noqa: PLR0913 - one parameter a flag
    config: Config = None,
    overrides: Overrides = None,
    predictions: Annotated[
        str | None, typer.Option("--predictions", help="detections that any tool has saved, instead of a model")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Global.dataset_dir")] = None,
    compare: Annotated[str | None, typer.Option("--compare", help="saved detections of another run")] = None,
    save_path: Annotated[str | None, typer.Option("--save_path", help="Global.output")] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Measure weights, a bundle or saved detections; writes evaluate_result.json into Global.output."""
    given = {
        "Evaluate.predictions": predictions, "Global.dataset_dir": dataset, "Evaluate.compare_with": compare,
        "Global.output": save_path,
    }  # fmt: skip
    with exit_codes(verbose, quiet):
        if config is None and predictions is not None:
            config = DEFAULT_CONFIG  # a whole file; none of what it says of a network is used
        run_mode(config, [*(overrides or ()), *(f"{key}={value}" for key, value in given.items() if value)], "evaluate")


@app.command(epilog=EPILOG)
def export(config: Config = None, overrides: Overrides = None, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Turn weights into a bundle and check that it predicts the same."""
    with exit_codes(verbose, quiet):
        run_mode(config, overrides, "export")


@app.command(epilog=EPILOG)
def predict(  # noqa: PLR0913 - one parameter a flag
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT...", help="pictures, folders, PDFs, URLs")
    ] = None,
    input: Input = None,
    config: Config = None,
    overrides: Overrides = None,
    pipeline: Pipeline = None,
    model: Model = None,
    model_dir: ModelDir = None,
    threshold: Threshold = None,
    save_path: SavePath = None,
    device: Device = None,
    batch_size: BatchSize = None,
    engine: Engine = None,
    use_hpip: UseHpip = False,
    hpi_config: HpiConfig = None,
    index: Index = None,
    detector: Detector = None,
    rec_threshold: RecThreshold = None,
    rec_topk: RecTopk = None,
    where: Where = None,
    evidence: Evidence = False,
    labels: LabelsFlag = "auto",
    form: Output = Format.text,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Find objects in pictures; results go to stdout, and to --save_path as pictures and JSON."""
    paths = (*(inputs or ()), *(() if input is None else (input,)))
    asked = Asked(
        paths, pipeline, model, model_dir, threshold, device, batch_size, engine, use_hpip, hpi_config, save_path,
        labels, form, Lookup(index, detector, rec_threshold, rec_topk, tuple(where or ()), evidence),
    )  # fmt: skip
    with exit_codes(verbose, quiet):
        if config is not None:
            run_mode(config, [*(overrides or ()), *asked.overrides()], "predict", form)
        elif overrides:
            raise ConfigError("-o changes a configuration file: name one with -c")
        else:
            predict_inputs(asked)


@app.command(epilog=EPILOG)
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="folder or .tar of Paddle, .pdparams, or a published model's name")
    ],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="folder of the bundle, or a .safetensors file")],
    model: Annotated[str | None, typer.Option("--model", "--model_name", help="network of a .pdparams file")] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="a,b,c or a file with one in each line")] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Turn a model of Paddle into a bundle, or into weights to train from. Paddle is not needed."""
    with exit_codes(verbose, quiet):
        convert_model(source, target, model, classes)


@app.command(epilog=EPILOG)
def models() -> None:
    """List the models that can be named, and what can be trained."""
    with exit_codes():
        list_models()


def refuse_early_flags(context: typer.Context) -> None:
    """Tell of flags before the verb, which the verb would never see."""
    with exit_codes():
        if any(value and value not in (Format.text, "auto") for value in context.params.values()):
            raise ConfigError(f"flags stand before the verb. Put them after it: eyas {context.invoked_subcommand} …")


def main() -> None:
    """The entry point of the command `eyas`."""
    with messages():
        app(args=rename_flags(sys.argv[1:]), prog_name="eyas")
