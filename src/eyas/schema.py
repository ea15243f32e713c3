"""The sections of a configuration file. Every default value lives here, or in `eyas.pipeline_schema`, and nowhere else.

A section is frozen and closed: an unknown key, a text where a number is meant or a boolean where a number is meant is
an error. `Expect` is the phrase that an error message uses for what was expected.

To add a key: one line here. To add a section: one class here and one field in `ModuleConfig`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict


@dataclass(frozen=True)
class Expect:
    """What a value should be, in words: "expected {phrase}"."""

    phrase: str


Count = Annotated[int, Field(ge=1), Expect("a whole number, 1 or more")]
Natural = Annotated[int, Field(ge=0), Expect("a whole number, 0 or more")]
Positive = Annotated[float, Field(gt=0), Expect("a number above 0")]
NotNegative = Annotated[float, Field(ge=0), Expect("a number, 0 or more")]
Fraction = Annotated[float, Field(ge=0, le=1), Expect("a number from 0 to 1")]
Side = Annotated[int, Field(ge=32, multiple_of=32)]
Size = Annotated[tuple[Side, Side], Strict(False), Expect("[height, width], two multiples of 32")]
Sides = Annotated[tuple[Side, ...], Strict(False), Field(min_length=1), Expect("a list of multiples of 32")]
ViewSides = Annotated[
    tuple[Annotated[int, Field(ge=32)], ...], Strict(False), Field(min_length=1), Expect("a list of numbers from 32 on")
]
Share = Annotated[float, Field(gt=0, le=1)]
Shares = Annotated[tuple[Share, Share], Strict(False), Expect("[lowest, highest], two numbers above 0 and up to 1")]
Range = Annotated[tuple[Positive, Positive], Strict(False), Expect("[lowest, highest], two numbers above 0")]
SizeEdges = Annotated[
    tuple[NotNegative, ...],
    Strict(False),
    Field(min_length=2),
    Expect("a list of two or more rising numbers, 0 or more"),
]
Percent = Annotated[float, Field(gt=0, lt=100), Expect("a number between 0 and 100")]
Threshold = Annotated[Fraction | dict[int | str, Fraction], Expect("a number from 0 to 1, or one for each class")]
"""One score for all classes, or one for each class id or name; the comparison is `score > threshold`."""
Inputs = str | Annotated[tuple[str, ...], Strict(False), Expect("a list of texts")]
Mode = Literal["check_dataset", "train", "evaluate", "export", "predict"]


class Section(BaseModel):
    """Base of all sections: frozen, closed, strict (no number from a text or a boolean), no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Global(Section):
    """What to do, with which network, on which data, where."""

    model: str
    mode: Mode | None = None  # None: the verb on the command line says it
    dataset_dir: str | None = None
    device: str | None = None  # None: a usable GPU, else the CPU
    output: str = "output"


class Convert(Section):
    """Conversion of another annotation format before the check."""

    enable: bool = False
    src_dataset_type: str | None = None


class Split(Section):
    """A new split of the dataset before the check; percentages add up to 100."""

    enable: bool = False
    train_percent: Percent | None = None
    val_percent: Percent | None = None
    gallery_percent: Percent | None = None
    query_percent: Percent | None = None


class CheckDataset(Section):
    """What to do with a dataset before it is used."""

    convert: Convert = Convert()
    split: Split = Split()
    decode: bool = True  # look at every picture: broken files, copies, leakage; False: headers alone
    allow_faulty: bool = False  # train although the check of the images finds errors


class Optimizer(Section):
    """How weights move; `momentum` is beta1 of adamw."""

    name: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1), Expect("a number from 0 to below 1")] = 0.9
    weight_decay: NotNegative = 5e-4  # never on BatchNorm and biases of normalisation
    clip_norm: Positive | None = None  # largest norm of all gradients together; None: no clipping


class Schedule(Section):
    """How the learning rate falls after the warm-up."""

    name: Literal["cosine"] = "cosine"
    start_factor: Fraction = 0.0  # learning rate at the start of the warm-up as a share of Train.learning_rate
    final_factor: Fraction = 0.0  # last learning rate as a share of Train.learning_rate
    cosine_epochs: Count | None = None  # length of the cosine; None: it ends with the run


class Augment(Section):
    """Changes to the training images of a detector; the numbers without a unit are probabilities for one image."""

    flip: Fraction = 0.5  # left-right
    colour: NotNegative = 0.5  # strength of gain, offset, gamma, saturation, blur and noise; 0: none
    crop: Fraction = 0.5  # image is a crop at about native scale, not the whole image resized
    aim: Fraction = 0.9  # crop holds a chosen object, rare classes more often
    crop_size: Size | None = None  # None: Train.input_size
    scale: Range = (1.0, 1.0)  # lowest and highest zoom of a crop
    min_side: NotNegative = 8.0  # px; zooming out stops before the smallest object falls below this
    mosaic: Fraction = 0.0  # four crops in one
    copy_paste: Fraction = 0.0  # small objects of another image pasted in
    rare_classes: NotNegative = 0.0  # images of rare classes come more often: (0.1 / share) ** this
    synthetic: Fraction = 0.0  # image is a drawn scene (eyas.data.synthetic)
    close_epochs: Natural = 0  # last epochs with whole images at the full input size


class Features(Section):
    """How a feature network learns. For a detector these keys must stay as they are."""

    samples_per_label: Count | None = None  # pictures of each label that a batch holds; None: pictures are shuffled
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Expect("a number from 0 to below 1")] = 0.0
    triplet: bool = False  # the triplet loss beside the cross entropy


class Pictures(Section):
    """Changes to the labelled pictures of a feature network. For a detector these keys must stay as they are."""

    sides: ViewSides | None = None  # sides of square views in equal parts of the run, one after another
    smooth: bool = False  # pixels are averaged where a picture shrinks, here and in prediction; False: as PaddleX
    flip: Fraction = 0.5  # probability: left-right
    area: Shares = (1.0, 1.0)  # lowest and highest share of the picture that is shown
    ratio: Range = (0.75, 1.3333)  # lowest and highest width : height of what is shown, where it is not the whole
    shift: Natural = 0  # px of the input, farthest either way, left-right and up-down
    rotate: NotNegative = 0.0  # degrees, farthest either way
    rotate_chance: Fraction = 1.0  # probability of a rotation
    colour: NotNegative = 0.0  # strength of gain, offset, gamma, saturation, blur and noise; 0: none
    erase: Fraction = 0.0  # probability: a rectangle of 2 to 25 % of the view is painted over
    cutmix: Fraction = 0.0  # probability: a rectangle shows another picture, whose label counts by its area


class Train(Section):
    """Training."""

    num_classes: Count | None = None  # None: what the data says; a number must agree with the data
    epochs_iters: Count = 50  # epochs
    batch_size: Count = 2  # for each device
    learning_rate: Positive = 0.01
    pretrain_weight_path: str | None = None
    warmup_steps: Natural = 100
    warmup_epochs: NotNegative = 0.0  # the warm-up lasts this long or Train.warmup_steps, whichever is longer
    resume_path: str | None = None  # a checkpoint file or an output folder
    log_interval: Count = 10  # steps
    eval_interval: Count = 1  # epochs
    save_interval: Count = 1  # epochs
    amp: Literal["OFF", "O1", "O2", "bf16", "fp16"] = "OFF"
    seed: Natural = 0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    features: Features = Features()
    pictures: Pictures = Pictures()
    ema_decay: Annotated[float, Field(ge=0, lt=1), Expect("a number from 0 to below 1")] = 0.9998  # 0: no average
    ema_cycle: Count | None = None  # epochs after which the average of the weights starts anew
    input_size: Size = (640, 640)  # of the network that is exported, and of validation
    keep_ratio: bool = False  # letterbox; False: stretch, as the published models do
    multi_scale: Sides | None = None  # sides of square inputs to train at, one drawn for each batch
    channels_last: bool = True  # about 30 % faster convolutions on CPUs
    workers: Natural = 2  # loader processes; 0: load in the training process
    early_stop: Count | None = None  # evaluations without a better score before training stops
    eval_limit: Count | None = None  # images of the validation part, or queries, to evaluate while training
    tensorboard: bool = False
    lr_batch_size: Count | None = None  # images a step that learning_rate is meant for; scaled to the real number


class Evaluate(Section):
    """Evaluation."""

    weight_path: str | None = None  # weights or a bundle; None: best_model of Global.output
    batch_size: Count = 1
    log_interval: Count = 10  # batches
    threshold: Fraction = 0.01  # lowest score that counts; low on purpose, AP needs the whole curve
    engine: str | None = None
    predictions: str | None = None  # detections that any tool has saved: they are measured, and no model is run
    compare_with: str | None = None  # saved detections of another run on the same images: a paired test of both
    resamples: Natural = 1000  # of the images, for the intervals; 0: no intervals
    size_bins: SizeEdges | None = None  # AP between these sizes too, in pixels: [0, 8, 16, 32]


class Export(Section):
    """Export to a bundle, checked against the weights that it came from."""

    weight_path: str | None = None  # must be given to export
    opset: Annotated[int, Field(ge=17), Expect("a whole number, 17 or more")] = 18
    box_tolerance: Positive = 0.05  # pixels
    score_tolerance: Positive = 1e-4
    threshold: Fraction = 0.5  # default threshold written into the bundle


class HpiBackendConfig(Section):
    """Options of `HpiConfig.backend`."""

    cpu_num_threads: Count | None = None


class HpiConfig(Section):
    """PaddleX's options of accelerated inference, as far as they mean something here; used where use_hpip is true."""

    auto_config: bool = True
    backend: str | None = None  # an engine; None: the fastest one
    backend_config: HpiBackendConfig | None = None
    auto_paddle2onnx: bool = True


class EngineConfig(Section):
    """Options of an inference engine."""

    cpu_threads: Count | None = None  # None: what the engine finds best


class Runtime(Section):
    """Keys that choose how a network runs; may stand at the top of a pipeline file or in a sub-module."""

    use_hpip: bool | None = None
    hpi_config: HpiConfig | None = None
    engine: str | None = None
    engine_config: EngineConfig | None = None


class Predict(Runtime):
    """Prediction by configuration file."""

    batch_size: Count = 1
    model_dir: str | None = None  # None: the exported model of Global.output, else the named model
    input: Inputs | None = None
    threshold: Threshold | None = None  # None: what the bundle says


class ModuleConfig(Section):
    """One configuration file of a module: one run."""

    global_: Global = Field(alias="Global")
    check_dataset: CheckDataset = Field(default=CheckDataset(), alias="CheckDataset")
    train: Train = Field(default=Train(), alias="Train")
    evaluate: Evaluate = Field(default=Evaluate(), alias="Evaluate")
    export: Export = Field(default=Export(), alias="Export")
    predict: Predict = Field(default=Predict(), alias="Predict")
