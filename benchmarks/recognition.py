"""What recognition costs beyond its networks: filling a gallery, and a picture with five objects.

"gallery": JPEG files of 348x348 are read, decoded, cut, embedded in batches of 16 and stored; the bare network's rate
is taken before and after each pass on batches that are already prepared.  Bar: within 10 %.  "again" is the same call
once more: nothing is embedded, only read and compared by content.
"picture": a decoded 640x512 picture through the whole pipeline (detect, cut out 5 objects, embed, look up among 10,000
vectors), against the sum of its two networks' runs in the same round.  Bar: at most 15 % more.

The same ratios are also taken of the processor's time, which other programs on the machine do not change; there the
reading of pictures counts in full, also where it happens beside the network.

The feature network is PP-ShiTuV2_rec with random weights at 224x224, the detector the built-in one.

    python benchmarks/recognition.py [--images 640] [--passes 5] [--rounds 30] [--threads 1] [--json FILE]
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from common import SCENE_SEED, in_turns, machine, open_bundle, options, report

from eyas.backends import open_backend
from eyas.bundle import Bundle, EmbeddingManifest
from eyas.data.synthetic import scene
from eyas.index.gallery import Gallery
from eyas.index.pictures import Picture
from eyas.index.records import ModelIdentity, NewItem
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder, l2_normalised
from eyas.pipelines.gallery_builder import add_pictures
from eyas.pipelines.recogniser import Options, Recogniser
from eyas.vision.preprocess import Preprocess

NETWORK = "PP-ShiTuV2_rec"
BATCH = 16
OBJECTS = 5
VECTORS = 10_000
BUILDER_BAR, PIPELINE_BAR = 0.90, 1.15


def feature_bundle(folder: Path) -> Bundle:
    """PP-ShiTuV2_rec with random weights, exported in `folder`; its BatchNorm statistics come from drawn scenes."""
    import torch

    from eyas.export.convert import to_onnx
    from eyas.models import build

    torch.manual_seed(0)
    model = build(NETWORK, 2)
    images = np.stack([scene(SCENE_SEED + number, (224, 224)).image for number in range(8)])
    with torch.no_grad():
        model.train()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    onnx = folder / "features.onnx"
    to_onnx(model.eval(), (224, 224), onnx, opset=17)
    preprocess = Preprocess((224, 224), alpha=(1 / 255,) * 3)
    manifest = EmbeddingManifest(model=NETWORK, width=512, preprocess=preprocess)
    return Bundle.create(folder / "features", manifest, {"model.onnx": onnx})


def pictures(folder: Path, count: int) -> list[Picture]:
    """`count` different JPEG files of 348x348, the usual size of the grocery photographs."""
    found = []
    for number in range(count):
        image = scene(SCENE_SEED + number % 64, (348, 348)).image[..., ::-1].copy()
        image[:8, :8] = (number % 16 * 16, number // 16 % 16 * 16, number // 256 * 60)  # JPEG blurs what is nearer
        path = folder / f"{number:05d}.jpg"
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        found.append(Picture(path, f"label {number % 20}"))
    return found


def processor_ratio(call: Callable[[], object], networks: Callable[[], object], rounds: int) -> float:
    """Processor time of a call against that of its networks alone: the median over rounds of both in turn."""
    pairs = [(timed(call, time.process_time), timed(networks, time.process_time)) for _ in range(rounds)]
    return float(np.median([whole / alone for whole, alone in pairs]))


def bare_rate(network: Callable[[], object], rounds: int) -> float:
    """Pictures per second of the feature network alone."""
    return BATCH * 1000 / statistics.median(in_turns({"network": network}, rounds)["network"])


def measure_builder(
    bundle: Bundle, files: list[Picture], passes: int, rounds: int, threads: int | None
) -> list[dict[str, object]]:
    """A row of medians over the passes; each pass compares with the network's own rate just before and after it."""
    backend = open_backend(bundle, device="cpu", threads=threads)
    embedder = Embedder(bundle.manifest, backend)
    identity = ModelIdentity.of(embedder.manifest)
    tensor = embedder.prepare(scene(SCENE_SEED, (348, 348)).image)
    inputs = {embedder.manifest.input_name: np.stack([tensor] * BATCH)}
    rows = []
    for _ in range(passes):
        with Gallery.create(None, width=512, kind="Flat", model=identity) as gallery:
            before = bare_rate(lambda: backend.run(inputs), rounds)
            started = time.process_time()
            first = timed(lambda: add_pictures(gallery, files, embedder, batch_size=BATCH))
            used = time.process_time() - started
            again = timed(lambda: add_pictures(gallery, files, embedder, batch_size=BATCH))
            bare = (before + bare_rate(lambda: backend.run(inputs), rounds)) / 2
            alone = np.median([timed(lambda: backend.run(inputs), time.process_time) for _ in range(rounds)])
        count = len(files)
        rows.append((count / first, bare, count / first / bare, float(alone) / BATCH * count / used, count / again))
    built, bare, share, of_processor, again = np.median(rows, axis=0).tolist()
    return [{
        "gallery of": len(files), "pictures/s": built, "bare network pictures/s": bare, "share": share,
        "bar": BUILDER_BAR, "share of processor time": of_processor, "again pictures/s": again,
    }]  # fmt: skip


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that a call takes, on that clock."""
    start = clock()
    call()
    return clock() - start


def filled_gallery(embedder: Embedder) -> Gallery:
    """A gallery of random vectors, with its search structure made."""
    rng = np.random.default_rng(0)
    vectors = l2_normalised(rng.normal(size=(VECTORS, 512)).astype(np.float32))
    items = [NewItem(f"label {number % 100}", f"{number:064x}", f"{number}.jpg") for number in range(VECTORS)]
    gallery = Gallery.create(None, width=512, kind="HNSW32", model=ModelIdentity.of(embedder.manifest))
    gallery.append(vectors, items)
    gallery.optimise()
    return gallery


def measure_pipeline(features: Bundle, rounds: int, threads: int | None) -> list[dict[str, object]]:
    """The row of a picture with five objects."""
    detection = open_bundle(None)
    detect, embed = (open_backend(bundle, device="cpu", threads=threads) for bundle in (detection, features))
    detector, embedder = Detector(detection.manifest, detect), Embedder(features.manifest, embed)
    image = scene(SCENE_SEED, (512, 640)).image
    choice = Options(max_boxes=OBJECTS, rec_threshold=-1.0)
    with filled_gallery(embedder) as gallery:
        recogniser = Recogniser(detector, embedder, gallery)
        found = recogniser(image, choice)
        assert len(found.objects) == OBJECTS
        whole = {detection.manifest.input_name: detector.prepare(image).tensor[None]}
        parts = {features.manifest.input_name: np.stack([embedder.prepare(image)] * OBJECTS)}
        vectors = np.concatenate([embedder.embed_batch([image])] * OBJECTS)
        cases: dict[str, Callable[[], object]] = {
            "pipeline": lambda: recogniser(image, choice),
            "networks": lambda: (detect.run(whole), embed.run(parts)),
            "search": lambda: gallery.search(vectors, 20),
        }
        times = in_turns(cases, rounds)
        of_processor = processor_ratio(cases["pipeline"], cases["networks"], rounds)
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = float(np.median(np.divide(times["pipeline"], times["networks"])))
    return [{
        "objects": OBJECTS, "pipeline ms": median["pipeline"], "networks ms": median["networks"], "ratio": ratio,
        "bar": PIPELINE_BAR, "ratio of processor time": of_processor, "search ms": median["search"],
    }]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=30)
    parser.add_argument("--images", type=int, default=640, help="pictures of the gallery (640)")
    parser.add_argument("--passes", type=int, default=5, help="times that the gallery is built (5)")
    parser.add_argument("--threads", type=int, help="threads of a network (as many as cores)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = feature_bundle(Path(folder))
        line = machine("numpy", "opencv-python-headless", "pillow", "openvino", "faiss-cpu")
        report(
            f"A picture with {OBJECTS} objects", measure_pipeline(bundle, asked.rounds, asked.threads), line, asked.json
        )
        files = pictures(Path(folder), asked.images)
        rows = measure_builder(bundle, files, asked.passes, max(3, asked.rounds // 5), asked.threads)
        report(f"A gallery, in batches of {BATCH}", rows, line, None)


if __name__ == "__main__":
    main()
