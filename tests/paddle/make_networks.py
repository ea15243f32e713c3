"""Makes networks.zip: small networks exported by Paddle in both formats, with what Paddle computes with them.

Not a test, and needs Paddle, which the project does not: pip install paddlepaddle==3.0.0, then
`python make_networks.py pir; python make_networks.py pdmodel; python make_networks.py zip`.
The weights and inputs are a formula (`wave`), so the files are the same each time.
"""

import os
import sys
import zipfile
from pathlib import Path

FORMAT = sys.argv[1]
os.environ["FLAGS_enable_pir_api"] = str(int(FORMAT == "pir"))  # noqa: SIM112

import numpy as np  # noqa: E402
import paddle.nn.functional as F  # noqa: E402
from paddle.static import InputSpec  # noqa: E402

import paddle  # noqa: E402
from paddle import inference, nn  # noqa: E402

HERE = Path(__file__).parent
OUT = Path("networks")


def wave(shape, seed):
    """Numbers between -1 and 1 that look random."""
    index = np.arange(np.prod(shape, dtype=int), dtype=np.float64)
    return np.sin(index * index * 0.37 + index * (0.61 + seed) + seed).astype(np.float32).reshape(shape)


def picture(shape):
    """An input, in steps of 1/8 so that it packs well."""
    return np.round(wave(shape, 0.5) * 8) / np.float32(8)


class Attention(nn.Layer):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.factor = heads, (width // heads) ** -0.5
        self.qkv, self.out, self.drop = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Dropout(0.1)

    def forward(self, x):
        tokens, width = x.shape[1:]
        qkv = self.qkv(x).reshape((-1, tokens, 3, self.heads, width // self.heads)).transpose((2, 0, 3, 1, 4))
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = self.drop(F.softmax(q.matmul(k.transpose((0, 1, 3, 2))) * self.factor, axis=-1))
        return self.out(weights.matmul(v).transpose((0, 2, 1, 3)).reshape((-1, tokens, width)))


class Block(nn.Layer):
    def __init__(self, width, heads):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.up, self.down = Attention(width, heads), nn.Linear(width, 16), nn.Linear(16, width)

    def forward(self, x):
        x = x + self.attention(self.first(x))
        return x + self.down(F.gelu(self.up(self.second(x))))


class Transformer(nn.Layer):
    """As CLIP's: patches, a class token, layers with the norm first, tokens projected and averaged."""

    def __init__(self, keep_class, width=8):
        super().__init__()
        self.keep_class = keep_class
        self.patches = nn.Conv2D(3, width, 8, 8, bias_attr=False)
        self.token, self.places = self.create_parameter([1, 1, width]), self.create_parameter([1, 13, width])
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.LayerList([Block(width, 2), Block(width, 2)])
        self.projection, self.neck = self.create_parameter([width, 12]), nn.Linear(12, 6)

    def forward(self, x):
        batch = paddle.shape(x)[0]
        x = self.patches(x).flatten(2).transpose((0, 2, 1))
        x = self.before(paddle.concat((self.token.expand((batch, -1, -1)), x), axis=1) + self.places)
        for block in self.blocks:
            x = block(x)
        if not self.keep_class:
            x = x[:, 1:]
        return self.neck((self.after(x) @ self.projection).mean(axis=1))


def conv_bn(inside, outside, size=1, stride=1, groups=1):
    conv = nn.Conv2D(inside, outside, size, stride, (size - 1) // 2, groups=groups, bias_attr=False)
    return nn.Sequential(conv, nn.BatchNorm2D(outside))


class Detector(nn.Layer):
    """As PicoDet on LCNet: depthwise convolutions, gates, a pyramid, anchors made in the graph, suppression.

    With `is_open` height and width are known only when it runs.
    """

    def __init__(self, is_open, classes=3):
        super().__init__()
        self.is_open, self.classes = is_open, classes
        self.stem, self.near, self.far = conv_bn(3, 8, 3, 2), conv_bn(8, 8, 3, 2, 8), conv_bn(8, 8, 5, 2, 8)
        self.mix, self.squeeze, self.excite = conv_bn(8, 8), nn.Conv2D(8, 4, 1), nn.Conv2D(4, 8, 1)
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.heads = nn.LayerList([nn.Conv2D(8, classes + 32, 1), nn.Conv2D(8, classes + 32, 1)])
        self.register_buffer("bins", paddle.linspace(0, 7, 8), persistable=False)

    def forward(self, inputs):
        near = F.hardswish(self.mix(F.hardswish(self.near(F.hardswish(self.stem(inputs["image"]))))))
        near = near * F.hardsigmoid(self.excite(F.relu(self.squeeze(self.pool(near)))))
        far = F.hardswish(self.far(near))
        near = near + F.interpolate(far, size=self.size(near), mode="nearest")
        parts = [self.level(*item) for item in zip((near, far), self.heads, (4, 8))]  # noqa: B905
        scores, boxes, centres, strides = (
            paddle.concat([part[i] for part in parts], axis=axis) for i, axis in enumerate((-1, 1, 0, 0))
        )
        before, behind = paddle.split(boxes, 2, -1)
        boxes = paddle.concat([-before + centres, behind + centres], axis=-1) * strides
        scale_y, scale_x = paddle.split(inputs["scale_factor"], 2, axis=-1)
        boxes = boxes / paddle.concat([scale_x, scale_y, scale_x, scale_y], axis=-1).reshape([-1, 1, 4])
        return suppress(boxes, scores)

    def size(self, x):
        return paddle.shape(x)[2:4] if self.is_open else x.shape[2:4]

    def level(self, x, head, stride):
        height, width = self.size(x)[0], self.size(x)[1]
        scores, sides = paddle.split(head(x), [self.classes, 32], axis=1)
        count = height * width
        sides = F.softmax(sides.transpose([0, 2, 3, 1]).reshape([-1, 8]), axis=1)
        boxes = F.linear(sides, self.bins).reshape([-1, count, 4])
        y, x = paddle.meshgrid(paddle.arange(end=height) + 0.5, paddle.arange(end=width) + 0.5)
        centres = paddle.cast(paddle.stack([x, y], axis=-1), "float32").reshape([-1, 2])
        scores = F.sigmoid(scores.reshape([-1, self.classes, count]))
        return scores, boxes, centres, paddle.full([count, 1], stride, dtype="float32")


def suppress(boxes, scores):
    rule = {
        "score_threshold": 0.025, "nms_top_k": 1000, "keep_top_k": 100, "nms_threshold": 0.6,
        "normalized": True, "nms_eta": 1.0, "background_label": -1,
    }  # fmt: skip
    if FORMAT == "pir":
        found, _, count = paddle._C_ops.multiclass_nms3(boxes, scores, None, *rule.values())
        return found, count
    helper = paddle.base.layer_helper.LayerHelper("multiclass_nms3")
    names = {"Out": "float32", "Index": "int32", "NmsRoisNum": "int32"}
    outputs = {name: helper.create_variable_for_type_inference(dtype=dtype) for name, dtype in names.items()}
    helper.append_op(type="multiclass_nms3", inputs={"BBoxes": boxes, "Scores": scores}, attrs=rule, outputs=outputs)
    return outputs["Out"], outputs["NmsRoisNum"]


class Medley(nn.Layer):
    """Every other operator once; each result is flattened, and all are joined."""

    def __init__(self):
        super().__init__()
        self.factor = self.create_parameter([3, 1, 1])

    def forward(self, x):
        x = x * self.factor
        return paddle.concat([result.flatten(1) for result in self.results(x)], axis=1)

    def results(self, x):
        batch = paddle.shape(x)[0]
        positive = x * x + 0.1
        yield from self.elements(x, positive)
        yield from self.maps(x)
        yield from self.moves(x, batch)
        yield paddle.sum(x, axis=[2, 3])
        yield paddle.max(x, axis=1, keepdim=True)
        yield paddle.min(x, axis=[-1])
        yield paddle.norm(x, p=2, axis=1)
        yield paddle.norm(x, p=1, axis=-1, keepdim=True)
        yield paddle.norm(x, p=3, axis=1)
        yield F.normalize(x, axis=1)
        yield paddle.bmm(x[:, 0], x[:, 1].transpose([0, 2, 1]))
        yield F.layer_norm(x, x.shape[2:])
        yield F.softmax(x, axis=1)

    def elements(self, x, positive):
        yield from (paddle.rsqrt(positive), paddle.sqrt(positive), paddle.log(positive), paddle.exp(x))
        yield from (F.relu6(x * 9), F.silu(x), F.swish(x), F.leaky_relu(x, 0.1), F.gelu(x, approximate=True))
        yield from (F.hardswish(x * 4), F.hardsigmoid(x * 4), F.tanh(x), paddle.erf(x), paddle.square(x))
        yield from (paddle.abs(x), paddle.floor(x * 3), paddle.ceil(x * 3), paddle.sin(x), paddle.cos(x))
        yield from (paddle.clip(x, -0.3, 0.4), paddle.clip(x, min=0.1), paddle.pow(positive, 1.5), positive**x)
        yield from (paddle.maximum(x, positive), paddle.minimum(x, positive), x - positive, x / positive)
        yield paddle.scale(x, 2.0, bias=0.5, bias_after_scale=False)
        yield F.dropout(x, 0.3, training=False, mode="downscale_in_infer")
        yield F.dropout(x, 0.3, training=False)
        yield paddle.where(paddle.cast(F.relu(x), "bool"), x, positive)

    def maps(self, x):
        yield F.avg_pool2d(x, 3, 2, 1)
        yield F.avg_pool2d(x, 3, 2, 1, exclusive=False)
        yield F.avg_pool2d(x, 3, 2, 0, ceil_mode=True)
        yield F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        yield F.max_pool2d(x, 2, 2, "SAME")
        yield F.adaptive_avg_pool2d(x, [4, 3])
        yield F.adaptive_avg_pool2d(x, 1)
        yield F.interpolate(x, scale_factor=2, mode="bilinear")
        yield F.interpolate(x, size=[11, 7], mode="bilinear", align_corners=True)
        yield F.interpolate(x, size=[11, 7], mode="bilinear", align_mode=1)
        yield F.interpolate(x, scale_factor=[1.5, 3.0], mode="nearest")
        yield F.conv2d(x, paddle.full([2, 3, 3, 3], 0.1), padding=[1, 2, 0, 1], dilation=2)
        yield F.conv2d(x, paddle.full([3, 1, 3, 3], 0.1), padding="SAME", stride=2, groups=3)

    def moves(self, x, batch):
        yield x[:, ::-1, 1:7:2]
        yield x[:, -1]
        yield paddle.flip(x, [1, 3])
        yield paddle.tile(x, [1, 2, 1, 1])
        yield paddle.expand(x[:, :1], [-1, 4, -1, -1])
        yield paddle.expand_as(x[:, :1], x)
        yield paddle.stack(paddle.unstack(x, axis=1)[:2], axis=2)
        yield paddle.concat(list(reversed(paddle.split(x, [1, -1], axis=1))), axis=1)
        yield paddle.concat(paddle.unbind(x, axis=2)[:3], axis=1)
        yield paddle.gather(x, paddle.to_tensor([2, 0]), axis=1)
        yield paddle.index_select(x, paddle.to_tensor([1, 1, 0]), axis=2)
        yield paddle.unsqueeze(x, [1, -1]).squeeze([1]).squeeze(-1)
        yield paddle.cast(paddle.cast(x * 5, "int32"), "float32")
        yield paddle.full_like(x, 0.25)
        yield paddle.zeros([batch, 2]) + 0.5
        yield paddle.ones_like(x) * paddle.to_tensor([1.0, 2.0, 3.0]).reshape([3, 1, 1])
        yield paddle.assign(x)
        yield paddle.reshape(x, [batch, 6, -1])


def fill(layer):
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    for seed, (name, tensor) in enumerate(sorted(tensors.items()), start=1):
        if name == "bins":
            continue
        values = wave(tensor.shape, seed)
        if "variance" in name or (name.endswith("weight") and tensor.ndim == 1):
            values = 1 + 0.5 * values
        tensor.set_value(values * (1 if tensor.ndim < 2 else float(np.prod(tensor.shape[1:])) ** -0.5))


def save(name, layer, specs, feeds):
    layer.eval()
    fill(layer)
    folder = OUT / name / FORMAT
    paddle.jit.save(paddle.jit.to_static(layer, input_spec=specs, full_graph=True), str(folder / "inference"))
    (folder / "inference.pdiparams.info").unlink(missing_ok=True)
    program = folder / ("inference.json" if FORMAT == "pir" else "inference.pdmodel")
    if FORMAT == "pdmodel":
        strip(program)
    config = inference.Config(str(program), str(folder / "inference.pdiparams"))
    config.disable_gpu()
    config.switch_ir_optim(False)
    config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    for key in predictor.get_input_names():
        predictor.get_input_handle(key).copy_from_cpu(feeds[key])
    predictor.run()
    result = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    reference = OUT / name / "reference.npz"
    if reference.exists():  # both formats are one network
        np.testing.assert_allclose(result, np.load(reference)["result"], rtol=1e-5, atol=1e-5)
    np.savez_compressed(reference, result=result, **feeds)
    sys.stdout.write(f"{name} {FORMAT} {result.shape} {np.abs(result).max()}\n")


def strip(program):
    """Without the lines of Python that each operator came from, which hold paths."""
    from paddle.base.proto import framework_pb2

    description = framework_pb2.ProgramDesc.FromString(program.read_bytes())
    for op in description.blocks[0].ops:
        kept = [attr for attr in op.attrs if attr.name != "op_callstack"]
        del op.attrs[:]
        op.attrs.extend(kept)
    program.write_bytes(description.SerializeToString())


def main():
    if FORMAT == "zip":
        with zipfile.ZipFile(HERE / "networks.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(OUT.rglob("*.*")):
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(OUT))), path.read_bytes(), zipfile.ZIP_DEFLATED)
        return
    tokens = InputSpec([None, 3, 24, 32], name="x")
    for name, keep_class in (("tokens", False), ("tokens_class", True)):
        save(name, Transformer(keep_class), [tokens], {"x": picture((2, 3, 24, 32))})
    save("medley", Medley(), [InputSpec([None, 3, 4, 6], name="x")], {"x": picture((2, 3, 4, 6))})
    scale = InputSpec([None, 2], name="scale_factor")
    for name, is_open in (("detector", False), ("detector_open", True)):
        sides = [None, None] if is_open else [32, 48]
        specs = [{"image": InputSpec([None, 3, *sides], name="image"), "scale_factor": scale}]
        feeds = {"image": picture((1, 3, 32, 48)), "scale_factor": np.array([[0.5, 0.8]], dtype=np.float32)}
        save(name, Detector(is_open), specs, feeds)


main()
