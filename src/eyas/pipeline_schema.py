"""The sections of a pipeline file, with every default value of theirs."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Strict

from eyas.schema import Count, Expect, Fraction, Inputs, NotNegative, Runtime, Section, Threshold

RecThreshold = Annotated[float | Literal["calibrated"], Expect("a number, or calibrated")]
"""The score of a gallery picture, in the unit of the metric, from which on an object counts as recognised."""


class SubModule(Runtime):
    """A network in a pipeline; `USUAL` is the model where neither a name nor a folder is given."""

    USUAL: ClassVar[str] = "SOD-XS-thermal"

    module_name: str  # PaddleX's word for what it does; any is taken, the model says it
    model_name: str | None = None  # None: what the bundle in model_dir says
    model_dir: str | None = None
    batch_size: Count = 1

    def or_default(self) -> Self:
        """The same with the usual model, where none is named."""
        named = self.model_name is not None or self.model_dir is not None
        return self if named else self.model_copy(update={"model_name": self.USUAL})


class DetectionModule(SubModule):
    """A detector in a pipeline."""

    module_name: str = "small_object_detection"
    threshold: Threshold | None = None
    img_size: Count | Annotated[tuple[Count, Count], Strict(False), Expect("[width, height]")] | None = None


class PipelineFile(Runtime):
    """What the files of all pipelines have."""

    pipeline_name: str
    device: str | None = None
    input: Inputs | None = None
    Serving: dict[str, Any] | None = None  # read by the HTTP service alone


class SmallObjectModules(Section):
    """Sub-modules of the pipeline small_object_detection."""

    detection: DetectionModule = Field(alias="SmallObjectDetection")


class SmallObjectPipeline(PipelineFile):
    """A pipeline file of small_object_detection."""

    pipeline_name: Literal["small_object_detection"] = "small_object_detection"
    modules: SmallObjectModules = Field(alias="SubModules")


class BodyModule(SubModule):
    """The detector that finds what is looked up; its scores count from `det_threshold` on."""

    USUAL = "PP-ShiTuV2_det"

    module_name: str = "mainbody_detection"


class RecognitionModule(SubModule):
    """The feature model; `batch_size` objects go through it together."""

    USUAL = "PP-ShiTuV2_rec"

    module_name: str = "image_feature"
    batch_size: Count = 16


class RecognitionModules(Section):
    """Sub-modules of the pipeline PP-ShiTuV2."""

    detection: BodyModule | None = Field(default=None, alias="Detection")  # None: the whole picture is looked up
    recognition: RecognitionModule = Field(alias="Recognition")


class RecognitionPipeline(PipelineFile):
    """A pipeline file of PP-ShiTuV2: detection, features, search in a gallery."""

    pipeline_name: Literal["PP-ShiTuV2"] = "PP-ShiTuV2"
    index: str | None = None  # folder of the gallery, or of an index of PaddleX
    det_threshold: Threshold = 0.5
    rec_threshold: RecThreshold = 0.5
    rec_topk: Count = 5  # gallery pictures that are named for each object
    hamming_radius: NotNegative | None = None  # bits; None: the angle that rec_threshold means
    max_boxes: Count | None = None  # the best ones; None: all
    rec_nms: Fraction | None = None  # overlap (IoU) above which the worse of two boxes of one label goes
    full_image: Literal["auto", "always", "never"] = "auto"  # a box for the whole picture; auto: if nothing is found
    vote: Literal["none", "vote", "mean", "max"] = "none"  # how the hits of one label become one; none: they do not
    margin: NotNegative = 0.0  # least lead over the next label
    gallery_crop: Literal["boxes", "none", "auto"] = "boxes"  # what of a gallery picture counts; auto: main body
    modules: RecognitionModules = Field(alias="SubModules")


PIPELINE_SECTIONS: dict[str, type[PipelineFile]] = {
    "small_object_detection": SmallObjectPipeline,
    "PP-ShiTuV2": RecognitionPipeline,
}
"""Pipeline name -> the sections of its file."""
