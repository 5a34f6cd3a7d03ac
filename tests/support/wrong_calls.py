"""Wrong calls of everything public: right ones, in each of which one argument is replaced.

    python tests/wrong_calls.py [group …]    what each wrong call answers, and how many are accepted

The right calls are lines of text. `m` is the package, ours or torch, and the other names are those
of `values`.
"""

import ast
import collections
import importlib
import sys
import warnings

import numpy as np

CREATION = """
m.zeros(2, 3, dtype=f32, device="cpu")
m.zeros((2, 3))
m.zeros(size=(2, 3))
m.ones(2, 3, dtype=f32, device="cpu")
m.empty(2, 3, dtype=f32, device="cpu")
m.full((2, 3), 1.5, dtype=f32, device="cpu")
m.full_like(x, 1.5, dtype=f32, device="cpu")
m.zeros_like(x, dtype=f32, device="cpu")
m.ones_like(x, dtype=f32, device="cpu")
m.empty_like(x, dtype=f32, device="cpu")
m.tensor([1.0, 2.0], dtype=f32, device="cpu")
m.as_tensor([1.0, 2.0], dtype=f32, device="cpu")
m.asarray([1.0, 2.0])
m.from_numpy(array)
m.frombuffer(memory, dtype=f32, count=1, offset=0)
m.arange(5, dtype=f32, device="cpu")
m.arange(1, 5, 2)
m.range(1, 5, 2)
m.linspace(0, 1, 5, dtype=f32, device="cpu")
m.logspace(0, 1, 5, 2.0, dtype=f32, device="cpu")
m.eye(3, 4, dtype=f32, device="cpu")
m.tril_indices(3, 3, 0)
m.triu_indices(3, 3, 0)
m.scalar_tensor(1.5, dtype=f32)
m.rand(2, 3, generator=g, dtype=f32, device="cpu")
m.randn(2, 3, generator=g, dtype=f32, device="cpu")
m.randn((2, 3), generator=g)
m.randint(0, 5, (2, 3), generator=g, dtype=i64, device="cpu")
m.randint(5, (2, 3))
m.randperm(5, generator=g, dtype=i64, device="cpu")
m.rand_like(x, dtype=f32, device="cpu")
m.randn_like(x, dtype=f32)
m.randint_like(x, 0, 5)
m.normal(0.0, 1.0, (2, 3), generator=g)
m.normal(x, p)
m.bernoulli(p, generator=g)
m.multinomial(p, 2, False, generator=g)
m.poisson(p, generator=g)
m.manual_seed(0)
m.set_rng_state(m.get_rng_state())
m.Generator("cpu")
g.manual_seed(0)
g.set_state(g.get_state())
m.allclose(x, y, 1e-5, 1e-8)
m.equal(x, y)
m.numel(x)
m.is_floating_point(x)
m.is_nonzero(one)
m.can_cast(f32, i64)
m.result_type(x, y)
m.promote_types(f32, i64)
m.finfo(f32)
m.iinfo(i64)
m.device("cpu", 0)
m.set_default_dtype(f32)
m.set_default_device("cpu")
m.set_num_threads(1)
m.set_float32_matmul_precision("high")
m.set_printoptions(precision=4)
m.Tensor(2, 3)
m.broadcast_shapes((2, 1), (3,))
"""

ELEMENTWISE = (
    "".join(
        f"m.{name}(x)\nx.{name}()\n"
        for name in (
            "abs exp log sqrt sin tanh floor neg square sign isnan erf sigmoid relu trunc"
        ).split()
    )
    + "".join(
        f"m.{name}(x, y)\nx.{name}(y)\n"
        for name in "add sub mul div pow maximum minimum remainder fmod atan2 eq lt logaddexp "
        "floor_divide fmax "
        "copysign hypot xlogy isclose".split()
    )
    + """
x + y
x - y
x * y
x / y
x ** y
x // y
x % y
x @ M
x < y
i & i
i << i
m.add(x, y, alpha=2)
m.sub(x, y, alpha=2)
m.div(x, y, rounding_mode="floor")
m.clamp(x, -1, 1)
x.clamp(min=-1, max=1)
m.lerp(x, y, 0.5)
m.addcmul(x, x, y, value=1)
m.addcdiv(x, x, y, value=1)
m.where(x > 0, x, y)
m.where(x > 0)
m.nan_to_num(x, 0.0, 1.0, -1.0)
m.logit(p, 1e-6)
m.round(x, decimals=1)
m.bitwise_and(i, i)
m.bitwise_not(i)
m.logical_and(x, y)
m.polygamma(1, p)
m.heaviside(x, y)
m.float_power(x, 2)
m.isin(x, y)
m.bucketize(x, v)
m.searchsorted(v, x)
x.add_(y)
x.mul_(2)
x.clamp_(-1, 1)
x.sub_(y, alpha=2)
x.copy_(y)
x.fill_(1.5)
x.masked_fill_(x > 0, 1.0)
x.normal_(0.0, 1.0, generator=g)
x.uniform_(0.0, 1.0, generator=g)
x.bernoulli_(0.5, generator=g)
x.random_(0, 5)
x.exponential_(1.0)
M.fill_diagonal_(1.0)
x.resize_(3, 2)
"""
)

REDUCTIONS = (
    "".join(
        f"m.{name}(x, dim=0, keepdim=False)\nx.{name}(1)\nm.{name}(x)\n"
        for name in "sum mean prod amax amin argmax argmin all any nansum nanmean".split()
    )
    + "".join(
        f"m.{name}(x, dim=0, keepdim=False)\nx.{name}(1)\n"
        for name in "max min median nanmedian mode logsumexp std var aminmax".split()
    )
    + "".join(
        f"m.{name}(x, 1)\nx.{name}(dim=0)\n"
        for name in "cumsum cumprod cummax cummin logcumsumexp softmax log_softmax".split()
    )
    + """
m.sum(x, 0, dtype=f32)
m.max(x, y)
m.std(x, 0, correction=1)
m.var(x, dim=0, unbiased=True)
m.var_mean(x, 0)
m.std_mean(x, 0)
m.norm(x, 2, 1)
x.norm(p=2, dim=0)
m.dist(x, y, 2)
m.sort(x, dim=0, descending=False, stable=True)
x.sort(1)
m.argsort(x, dim=0, descending=False)
m.msort(x)
m.topk(x, 2, dim=1, largest=True)
x.topk(2)
m.kthvalue(x, 1, dim=0)
m.quantile(x, 0.5, dim=0)
m.nanquantile(x, 0.5, 0)
m.count_nonzero(x, dim=0)
m.unique(x, dim=0)
m.unique_consecutive(x, dim=0)
m.bincount(i, minlength=3)
m.histc(x, 4, -1, 1)
m.histogram(v, 4)
m.diff(x, 1, 0)
m.trace(M)
m.trapezoid(x, dim=0)
m.cumulative_trapezoid(x, dim=0)
m.cov(x)
m.corrcoef(x)
"""
)

SHAPES = """
m.reshape(x, (3, 2))
x.reshape(3, 2)
x.view(3, 2)
x.view(-1)
m.permute(x, (1, 0))
x.permute(1, 0)
m.transpose(x, 0, 1)
x.transpose(0, 1)
x.t()
m.movedim(x, 0, 1)
m.squeeze(x, 0)
m.unsqueeze(x, 0)
x.unsqueeze(1)
m.flatten(x, 0, 1)
m.unflatten(v, 0, (1, 3))
x.expand(2, 3)
x.expand(4, 2, 3)
m.broadcast_to(x, (4, 2, 3))
m.broadcast_tensors(x, y)
x.repeat(2, 2)
m.tile(x, (2, 2))
m.repeat_interleave(x, 2, dim=0)
m.flip(x, (0, 1))
x.flip(0)
m.fliplr(x)
m.roll(x, 1, 0)
m.rot90(x, 1, (0, 1))
m.cat([x, y], dim=0)
m.cat((x, y), 1)
m.stack([x, y], dim=0)
m.hstack([x, y])
m.vstack([x, y])
m.dstack([x, y])
m.column_stack([x, y])
m.split(x, 1, dim=0)
x.split([1, 2], 1)
m.split_with_sizes(x, [1, 2], 1)
m.chunk(x, 2, dim=0)
x.chunk(2, 1)
m.tensor_split(x, 2, dim=0)
m.hsplit(x, 3)
m.vsplit(x, 2)
m.unbind(x, dim=0)
m.tril(x, 0)
m.triu(x, 0)
m.diag(v, 0)
m.diagonal(x, 0, 0, 1)
m.diag_embed(x, 0, 0, 1)
m.meshgrid(v, v, indexing="ij")
m.cartesian_prod(v, v)
m.combinations(v, 2)
m.atleast_2d(v)
m.block_diag(x, y)
m.vander(v)
m.as_strided(x, (2, 2), (1, 1), 0)
x.unfold(1, 2, 1)
m.gather(x, 1, j)
x.gather(1, j)
m.scatter(x, 1, j, y)
m.scatter(x, 1, j, 2.0)
m.scatter_add(x, 1, j, y)
m.scatter_reduce(x, 1, j, y, "sum")
m.index_select(x, 0, i)
m.index_add(x, 0, i, y)
m.index_copy(x, 0, i, y)
m.index_fill(x, 0, i, 1.0)
x.index_put_((i,), v)
m.masked_fill(x, x > 0, 1.0)
m.masked_select(x, x > 0)
m.masked_scatter(x, x > 0, y)
m.take(x, i)
m.take_along_dim(x, j, 1)
m.select(x, 0, 1)
m.narrow(x, 1, 0, 2)
m.nonzero(x)
m.unravel_index(i, (2, 3))
x[0]
x[0, 1]
x[i]
x[x > 0]
x.size(0)
x.stride(0)
x.to(f32)
x.to(device="cpu")
x.to(dtype=f32)
x.type(f32)
x.type_as(y)
x.view_as(y)
x.reshape_as(y)
x.expand_as(y)
x.new_zeros(2, 3)
x.new_ones((2, 3))
x.new_full((2, 3), 1.0)
x.new_tensor([1.0])
x.equal(y)
x.allclose(y)
x.requires_grad_(True)
x.register_hook(print)
one.backward(one)
one.item()
m.autograd.backward(loss)
m.autograd.grad(loss, w)
loss.backward()
"""

LINALG = """
m.matmul(x, M)
m.mm(x, M)
m.bmm(c, c.mT)
m.mv(M, v)
m.dot(v, v)
m.outer(v, v)
m.inner(v, v)
m.vdot(v, v)
m.kron(x, y)
m.cross(M, M, dim=0)
m.addmm(x, x, M, beta=1, alpha=1)
m.addmv(v, M, v)
m.baddbmm(c @ c.mT, c, c.mT)
m.addr(M, v, v)
m.einsum("ij,jk->ik", x, M)
m.tensordot(x, M, 1)
m.tensordot(x, M, dims=([1], [0]))
m.cdist(x, y, 2.0)
m.det(M)
m.inverse(M)
m.logdet(M)
m.slogdet(M)
m.cholesky(M)
m.matrix_power(M, 2)
m.linalg.det(M)
m.linalg.inv(M)
m.linalg.pinv(M)
m.linalg.cholesky(M)
m.linalg.qr(M, "reduced")
m.linalg.svd(x, full_matrices=False)
m.linalg.svdvals(x)
m.linalg.eigh(M)
m.linalg.eigvalsh(M)
m.linalg.solve(M, M)
m.linalg.solve_triangular(M, M, upper=True)
m.linalg.lstsq(M, M)
m.linalg.norm(x, 2, 1)
m.linalg.vector_norm(x, 2, 1)
m.linalg.matrix_norm(x, "fro")
m.linalg.matrix_rank(M)
m.linalg.matrix_power(M, 2)
m.linalg.matrix_exp(M)
m.linalg.multi_dot([x, M])
m.linalg.cross(M, M, dim=0)
m.linalg.vander(v)
m.linalg.vecdot(x, y, dim=0)
m.linalg.diagonal(M)
"""

FUNCTIONAL = (
    "".join(
        f"F.{name}(x)\n"
        for name in "relu gelu silu mish softplus softsign tanhshrink hardswish hardsigmoid "
        "logsigmoid selu "
        "relu6 sigmoid tanh".split()
    )
    + "".join(
        f"F.{name}(x, y)\n"
        for name in "mse_loss l1_loss smooth_l1_loss huber_loss kl_div "
        "poisson_nll_loss soft_margin_loss hinge_embedding_loss "
        "binary_cross_entropy_with_logits".split()
    )
    + """
F.mse_loss(x, y, reduction="mean")
F.linear(x, M, v)
F.embedding(i, M, padding_idx=0, max_norm=1.0)
F.embedding_bag(j, M)
F.one_hot(i, 3)
F.dropout(x, 0.5, True)
F.alpha_dropout(x, 0.5, True)
F.dropout2d(image, 0.5)
F.layer_norm(x, (3,), v, v, 1e-5)
F.rms_norm(x, (3,), v, 1e-5)
F.group_norm(image, 3, v, v, 1e-5)
F.batch_norm(x, v, v, v, v, True, 0.1, 1e-5)
F.instance_norm(image, v, v, v, v)
F.local_response_norm(image, 2)
F.normalize(x, 2.0, 1)
F.cosine_similarity(x, y, 1)
F.pairwise_distance(x, y, 2.0)
F.pdist(x, 2.0)
F.softmax(x, 1)
F.softmax(x, dim=1)
F.log_softmax(x, dim=1)
F.softmin(x, dim=1)
F.gumbel_softmax(x, 1.0, dim=1)
F.leaky_relu(x, 0.1)
F.elu(x, 1.0)
F.celu(x, 1.0)
F.hardtanh(x, -1.0, 1.0)
F.threshold(x, 0.1, 0.2)
F.softshrink(x, 0.5)
F.hardshrink(x, 0.5)
F.glu(image, 1 + 1)
F.prelu(x, v)
F.rrelu(x, 0.1, 0.3)
F.cross_entropy(x, i, weight=v, ignore_index=-100, reduction="mean", label_smoothing=0.1)
F.nll_loss(x, i, v)
F.binary_cross_entropy(p, p, p)
F.gaussian_nll_loss(x, y, p)
F.margin_ranking_loss(v, v, v)
F.cosine_embedding_loss(x, y, i)
F.triplet_margin_loss(x, y, x, 1.0)
F.multi_margin_loss(x, i)
F.multilabel_soft_margin_loss(x, y)
F.ctc_loss(c, j, (4, 4), (2, 2))
F.conv1d(c, c, None, 1, 0, 1, 1)
F.conv2d(image, kernel, v, stride=1, padding=1, dilation=1, groups=1)
F.conv_transpose2d(image, kernel, v, stride=1, padding=1)
F.conv_transpose1d(c, c.mT)
F.max_pool1d(c, 2)
F.max_pool2d(image, 2, stride=1, padding=0)
F.avg_pool1d(c, 2)
F.avg_pool2d(image, 2, 1, 0)
F.adaptive_avg_pool2d(image, 2)
F.adaptive_max_pool2d(image, (2, 2))
F.unfold(image, 2)
F.fold(m.zeros(1, 12, 9), (4, 4), 2)
F.pixel_shuffle(m.zeros(1, 4, 2, 2), 2)
F.pixel_unshuffle(image, 2)
F.pad(x, (1, 1), "constant", 0.0)
F.interpolate(image, scale_factor=2, mode="nearest")
F.interpolate(image, size=(2, 2))
F.grid_sample(image, m.zeros(1, 2, 2, 2), align_corners=False)
F.affine_grid(m.zeros(1, 2, 3), (1, 3, 2, 2), align_corners=False)
F.bilinear(x, x, m.zeros(4, 3, 3))
F.scaled_dot_product_attention(c, c, c, None, 0.0, False, scale=1.0)
"""
)

MODULES = """
nn.Linear(3, 4, bias=True, device="cpu", dtype=f32)
nn.Bilinear(3, 3, 4)
nn.Embedding(5, 3, padding_idx=0)
nn.EmbeddingBag(5, 3, mode="mean")
nn.LayerNorm(3, eps=1e-5)
nn.LayerNorm((2, 3))
nn.RMSNorm(3)
nn.GroupNorm(3, 6)
nn.BatchNorm1d(3, eps=1e-5, momentum=0.1)
nn.BatchNorm2d(3)
nn.InstanceNorm2d(3)
nn.Dropout(0.5)
nn.Dropout2d(0.5)
nn.AlphaDropout(0.5)
nn.Conv1d(3, 4, 2)
nn.Conv2d(3, 4, 2, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros")
nn.ConvTranspose2d(3, 4, 2, stride=1, output_padding=0)
nn.MaxPool2d(2)
nn.RNN(3, 4, num_layers=1, nonlinearity="tanh", dropout=0.0)
nn.LSTM(3, 4, num_layers=1, proj_size=0)
nn.GRU(3, 4)
nn.LSTMCell(3, 4)
nn.GRUCell(3, 4)
nn.MultiheadAttention(4, 2, dropout=0.1)
nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, activation="relu")
nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2)
nn.Transformer(4, 2, 1, 1, dim_feedforward=8)
nn.Sequential(nn.Linear(3, 4))
nn.ModuleList([nn.Linear(3, 4)])
nn.ModuleDict({"a": nn.Linear(3, 4)})
nn.ParameterList([w])
nn.ParameterDict({"a": w})
nn.Parameter(x)
nn.PReLU(1)
nn.Threshold(0.1, 0.2)
nn.PixelShuffle(2)
nn.CrossEntropyLoss(weight=v)
nn.Linear(3, 4)(x)
nn.Bilinear(3, 3, 4)(x, x)
nn.Embedding(5, 3)(i)
nn.EmbeddingBag(5, 3)(j)
nn.LayerNorm(3)(x)
nn.RMSNorm(3)(x)
nn.GroupNorm(3, 3)(image)
nn.BatchNorm1d(3)(x)
nn.BatchNorm2d(3)(image)
nn.InstanceNorm2d(3)(image)
nn.Dropout(0.5)(x)
nn.Conv1d(3, 4, 2)(m.zeros(1, 3, 4))
nn.Conv2d(3, 4, 2)(image)
nn.ConvTranspose2d(3, 4, 2)(image)
nn.MaxPool2d(2)(image)
nn.AvgPool2d(2)(image)
nn.AdaptiveAvgPool2d(2)(image)
nn.RNN(3, 4)(x)
nn.LSTM(3, 4)(x)
nn.GRU(3, 4)(x)
nn.LSTMCell(3, 4)(x)
nn.GRUCell(3, 4)(x)
nn.RNNCell(3, 4)(x)
nn.MultiheadAttention(4, 2)(c, c, c)
nn.TransformerEncoderLayer(4, 2, 8)(c)
nn.Softmax(1)(x)
nn.ReLU()(x)
nn.GELU()(x)
nn.Flatten()(image)
nn.Unflatten(1, (1, 3))(x)
nn.MSELoss()(x, y)
nn.L1Loss()(x, y)
nn.CrossEntropyLoss()(x, i)
nn.NLLLoss()(x, i)
nn.BCELoss()(p, p)
nn.BCEWithLogitsLoss()(x, y)
nn.Sequential(nn.Linear(3, 4))(x)
net.load_state_dict(net.state_dict())
net.to(f32)
net.to("cpu")
net.train(True)
net.register_buffer("b", x)
net.register_parameter("q", w)
net.add_module("n", nn.ReLU())
net.get_submodule("")
net.get_parameter("weight")
net.apply(print_nothing)
nn.init.normal_(x, 0.0, 1.0)
nn.init.uniform_(x, 0.0, 1.0)
nn.init.trunc_normal_(x, 0.0, 1.0, -2.0, 2.0)
nn.init.constant_(x, 1.0)
nn.init.ones_(x)
nn.init.zeros_(x)
nn.init.eye_(x)
nn.init.dirac_(kernel)
nn.init.xavier_uniform_(x, 1.0)
nn.init.xavier_normal_(x, 1.0)
nn.init.kaiming_uniform_(x, 1.0, mode="fan_in", nonlinearity="leaky_relu")
nn.init.kaiming_normal_(x)
nn.init.orthogonal_(x, 1.0)
nn.init.sparse_(x, 0.5)
nn.init.calculate_gain("relu")
nn.utils.clip_grad_norm_(params, 1.0, norm_type=2.0)
nn.utils.clip_grad_value_(params, 1.0)
nn.utils.get_total_norm([x])
nn.utils.parameters_to_vector(params)
nn.utils.vector_to_parameters(m.zeros(16), params)
nn.utils.rnn.pad_sequence([v, v], batch_first=True)
nn.utils.rnn.pack_padded_sequence(c, [4, 4], batch_first=True)
"""

OPTIM = (
    "".join(
        f"optim.{name}(params, lr=0.1)\noptim.{name}(params, 0.1)\n"
        for name in (
            "SGD Adam AdamW Adagrad Adadelta Adamax NAdam RAdam RMSprop Rprop ASGD LBFGS"
        ).split()
    )
    + """
optim.SGD(params, lr=0.1, momentum=0.9, dampening=0, weight_decay=0.1, nesterov=True)
optim.SGD([{"params": params, "lr": 0.1}])
optim.Adam(params, lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
optim.AdamW(params, lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
optim.NAdam(params, lr=0.1, betas=(0.9, 0.99), momentum_decay=0.1)
optim.RMSprop(params, lr=0.1, alpha=0.9, eps=1e-8, momentum=0.1)
optim.Adadelta(params, lr=0.1, rho=0.9)
optim.Adagrad(params, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.1, eps=1e-8)
optim.Rprop(params, lr=0.1, etas=(0.5, 1.2), step_sizes=(1e-6, 50))
optim.ASGD(params, lr=0.1, lambd=1e-4, alpha=0.75, t0=1e6)
optim.LBFGS(params, lr=1, max_iter=20, history_size=100)
sgd.add_param_group({"params": [other]})
sgd.load_state_dict(sgd.state_dict())
sgd.step(None)
S.StepLR(sgd, 3, 0.1)
S.MultiStepLR(sgd, [2, 4], 0.1)
S.ConstantLR(sgd, 0.5, 5)
S.LinearLR(sgd, 0.5, 1.0, 5)
S.ExponentialLR(sgd, 0.9)
S.PolynomialLR(sgd, 5, 1.0)
S.CosineAnnealingLR(sgd, 10, 0.0)
S.CosineAnnealingWarmRestarts(sgd, 10, 2)
S.LambdaLR(sgd, half)
S.MultiplicativeLR(sgd, half)
S.ChainedScheduler([S.StepLR(sgd, 3)], sgd)
S.SequentialLR(sgd, [S.StepLR(sgd, 3), S.StepLR(sgd, 3)], [2])
S.ReduceLROnPlateau(sgd, mode="min", factor=0.1, patience=10, threshold=1e-4, cooldown=0)
S.ReduceLROnPlateau(sgd, threshold_mode="rel", min_lr=0.0)
S.ReduceLROnPlateau(sgd).step(0.5)
S.CyclicLR(sgd, 0.01, 0.1, 20, mode="triangular", cycle_momentum=False)
S.OneCycleLR(sgd, 0.1, total_steps=10, pct_start=0.3, anneal_strategy="cos", cycle_momentum=False)
S.OneCycleLR(sgd, 0.1, epochs=2, steps_per_epoch=5, cycle_momentum=False)
optim.swa_utils.AveragedModel(net)
optim.swa_utils.SWALR(sgd, 0.05)
"""
)

DATA = """
D.DataLoader(data, batch_size=2, shuffle=True, num_workers=0, drop_last=False, generator=g)
D.DataLoader(data, 2, collate_fn=print_nothing)
D.DataLoader(data, sampler=D.SequentialSampler(data))
D.DataLoader(data, batch_sampler=D.BatchSampler(D.SequentialSampler(data), 2, False))
list(D.DataLoader(data))
D.TensorDataset(x, y)
D.Subset(data, [0, 1])
D.ConcatDataset([data, data])
D.random_split(data, [1, 1], g)
D.random_split(data, [0.5, 0.5])
D.SequentialSampler(data)
D.RandomSampler(data, replacement=False, num_samples=2, generator=g)
D.SubsetRandomSampler([0, 1], g)
D.WeightedRandomSampler([0.5, 0.5], 2, replacement=True)
D.BatchSampler(D.SequentialSampler(data), 2, False)
D.default_collate([x, y])
data[0]
"""

DISTRIBUTIONS = """
P.Normal(0.0, 1.0)
P.Normal(x, p)
P.Bernoulli(0.5)
P.Bernoulli(probs=p)
P.Bernoulli(logits=x)
P.Categorical(p)
P.Categorical(probs=p)
P.Categorical(logits=x)
P.Uniform(0.0, 1.0)
P.Uniform(x, x + 1)
P.Beta(1.0, 2.0)
P.Beta(p, p)
P.MultivariateNormal(v, M)
P.MultivariateNormal(v, covariance_matrix=M)
P.MultivariateNormal(v, precision_matrix=M)
P.MultivariateNormal(v, scale_tril=triangle)
P.Independent(P.Normal(x, p), 1)
P.kl_divergence(P.Normal(0.0, 1.0), P.Normal(0.0, 1.0))
P.Normal(x, p).sample((2,))
P.Normal(x, p).rsample((2,))
P.Normal(x, p).log_prob(x)
P.Normal(x, p).cdf(x)
P.Normal(x, p).icdf(p)
P.Categorical(p).sample((2,))
P.Categorical(p).log_prob(i)
P.Bernoulli(p).sample((2,))
P.Bernoulli(p).log_prob(x * 0)
P.Uniform(x, x + 1).log_prob(x)
P.Beta(p, p).sample((2,))
P.Beta(p, p).log_prob(p * 0.5)
P.MultivariateNormal(v, M).sample((2,))
P.MultivariateNormal(v, M).log_prob(v)
"""

OTHERS = """
m.amp.autocast("cpu", dtype=m.bfloat16, enabled=True)
m.amp.GradScaler("cpu", init_scale=2.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=10)
m.amp.GradScaler("cpu").scale(x)
m.amp.GradScaler("cpu").step(sgd)
m.amp.GradScaler("cpu").unscale_(sgd)
m.autograd.functional.jacobian(m.exp, x)
m.autograd.functional.hessian(m.sum, x)
m.autograd.functional.vjp(m.sum, x)
m.autograd.gradcheck(m.exp, (double,))
m.func.grad(m.sum)(x)
m.func.vmap(m.sum)(x)
m.func.functional_call(net, {}, x)
m.save(x, "/nowhere/at/all")
m.load("/nowhere/at/all")
"""

GROUPS = {
    "creation": CREATION, "elementwise": ELEMENTWISE, "reductions": REDUCTIONS, "shapes": SHAPES,
    "linalg": LINALG, "functional": FUNCTIONAL, "modules": MODULES, "optim": OPTIM, "data": DATA,
    "distributions": DISTRIBUTIONS, "others": OTHERS,
}  # fmt: skip


def values(m):
    """What the calls use, made with a package: ours or torch."""
    nn, optim = m.nn, m.optim
    place = lambda name: importlib.import_module(f"{m.__name__}.{name}")
    x = m.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
    M = m.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
    net, w = nn.Linear(3, 4), nn.Parameter(m.tensor([1.0, 2.0]))
    params = list(net.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "m": m, "nn": nn, "F": nn.functional, "optim": optim, "S": optim.lr_scheduler,
            "D": place("utils.data"), "P": place("distributions"), "f32": m.float32,
            "i64": m.int64, "x": x, "y": x.flip(0) + 0.5, "p": m.tensor([[0.2, 0.5, 0.3],
            [0.1, 0.6, 0.3]]), "v": m.tensor([1.0, 2.0, 3.0]), "M": M, "i": m.tensor([0, 1]),
            "j": m.tensor([[0, 1, 2], [2, 1, 0]]), "one": m.ones(1, requires_grad=True),
            "c": m.linspace(-1, 1, 32).reshape(2, 4, 4), "image": m.linspace(-1, 1, 48).reshape(
            1, 3, 4, 4), "kernel": m.linspace(-1, 1, 27).reshape(3, 1, 3, 3).expand(3, 3, 3, 3)
            .clone(), "g": m.Generator().manual_seed(0), "array": np.zeros(3),
            "memory": bytearray(8), "net": net, "w": w, "params": params, "loss": (w * w).sum(),
            "other": nn.Parameter(m.ones(2)), "sgd": optim.SGD(params, lr=0.1, momentum=0.9),
            "half": lambda epoch: 0.5, "print_nothing": lambda *args: None,
            "data": place("utils.data").TensorDataset(x, x), "double": m.ones(
            2, dtype=m.float64, requires_grad=True), "triangle": m.eye(3),
        }  # fmt: skip


def used_up():
    made = iter([1])
    next(made)
    return made


BAD = {  # what takes an argument's place
    "'a'": lambda m: "a", "None": lambda m: None, "object()": lambda m: object(),
    "-7": lambda m: -7, "10**12": lambda m: 10**12, "10**30": lambda m: 10**30,
    "2.5": lambda m: 2.5, "nan": lambda m: float("nan"), "[1, 'a']": lambda m: [1, "a"],
    "()": lambda m: (), "(1, -2)": lambda m: (1, -2), "{}": lambda m: {},
    "a module": lambda m: m.nn.Linear(2, 2), "used up": lambda m: used_up(),
    "(5, 7)": lambda m: m.full((5, 7), 0.5), "ints": lambda m: m.tensor([[9, -9]]),
    "NaNs": lambda m: m.full((2, 3), float("nan")), "a type": lambda m: dict,
}  # fmt: skip


def wrong_calls(groups=None):
    """(group, call, which, bad, code): calls with one argument replaced by the name `bad`."""
    for group, text in (groups or GROUPS).items():
        for line in dict.fromkeys(filter(None, text.splitlines())):
            for which, code in _replaced(line):
                yield from ((group, line, which, bad, code) for bad in BAD)


def _replaced(line):
    for n in range(20):
        tree = ast.parse(line, mode="eval")
        call = tree.body
        if isinstance(call, ast.Call):
            places = [(call.args, k) for k in range(len(call.args))]
            places += [(keyword, "value") for keyword in call.keywords]
        elif isinstance(call, ast.BinOp):
            places = [(call, "right"), (call, "left")]
        elif isinstance(call, ast.Compare):
            places = [(call.comparators, 0)]
        else:
            places = [(call, "slice")]
        if n == len(places):
            return
        place, key = places[n]
        if isinstance(place, list):
            place[key] = ast.Name("bad", ast.Load())
        else:
            setattr(place, key, ast.Name("bad", ast.Load()))
        told = getattr(place, "arg", key) if not isinstance(place, list) else key
        yield told, ast.unparse(ast.fix_missing_locations(tree))


def name_of(line):
    """The public name that a call is known by: that of the function, module or operator."""
    tree = ast.parse(line, mode="eval").body
    if not isinstance(tree, ast.Call):
        symbol = {ast.BinOp: lambda t: type(t.op).__name__, ast.Compare: lambda t: "Lt"}
        return symbol.get(type(tree), lambda t: "getitem")(tree)
    func = tree.func
    while isinstance(func, ast.Call):
        func = func.func
    return func.attr if isinstance(func, ast.Attribute) else func.id


class Hangs(BaseException):
    pass


def answer(m, code, bad):
    """What a call raises; None if it is accepted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = {**values(m), "bad": BAD[bad](m)}
        try:
            found = eval(code, known)
            if isinstance(found, collections.abc.Iterator):
                next(found, None)
        except Hangs:
            raise
        except Exception as error:
            return error
        finally:
            m.set_printoptions(profile="default")
            m.set_default_device(None)
            m.set_default_dtype(m.float32)
    return None


if __name__ == "__main__":
    import microtensor

    accepted = total = 0
    for group, _, _, bad, code in wrong_calls():
        if group in (sys.argv[1:] or GROUPS):
            error = answer(microtensor, code, bad)
            total, accepted = total + 1, accepted + (error is None)
            if error is not None:
                print(f"{code}  bad={bad}  {type(error).__name__}: {error}")
    print(f"{total} calls, {accepted} accepted")
