"""Which functions autocast runs in which precision: PyTorch's own lists, by device. It casts nothing.

From ATen/autocast_mode.h (CUDA) and ATen/autocast_mode.cpp (CPU), as seen in torch 2.13 in November 2026.
"""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

from typing import Any, Dict, Tuple

import torch

__all__ = ["FULL", "LOWER", "OPTIONAL_FULL", "WIDEST", "policies"]

LOWER, FULL, OPTIONAL_FULL, WIDEST = "lower", "full", "optional full", "widest"

CUDA = {
    LOWER: (
        "_convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d convolution "
        "prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm chain_matmul "
        "linalg_multi_dot lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell __matmul__ __rmatmul__"
    ),
    FULL: (
        "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow __pow__ __rpow__ softplus "
        "layer_norm native_layer_norm rms_norm group_norm norm frobenius_norm nuclear_norm cosine_similarity "
        "poisson_nll_loss cosine_embedding_loss nll_loss nll_loss_nd hinge_embedding_loss kl_div l1_loss "
        "smooth_l1_loss huber_loss mse_loss margin_ranking_loss multilabel_margin_loss soft_margin_loss "
        "triplet_margin_loss multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp "
        "upsample_nearest1d _upsample_nearest_exact1d upsample_nearest2d _upsample_nearest_exact2d upsample_nearest3d "
        "_upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa upsample_trilinear3d "
        "upsample_bicubic2d _upsample_bicubic2d_aa cross_entropy_loss"
    ),
    OPTIONAL_FULL: "prod softmax log_softmax cumprod cumsum linalg_vector_norm linalg_matrix_norm sum",
    WIDEST: "addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add",
}
"""`cross_entropy_loss` has no entry there, but both functions that it is made of have."""
HOST = {
    LOWER: (
        "conv1d conv2d conv3d bmm mm linalg_vecdot baddbmm addmm _addmm_activation addbmm linear _convolution matmul "
        "conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d prelu __matmul__ __rmatmul__"
    ),
    FULL: (
        "avg_pool3d binary_cross_entropy grid_sampler polar prod quantile nanquantile stft cdist trace "
        "view_as_complex cholesky cholesky_inverse cholesky_solve inverse lu_solve orgqr ormqr pinverse max_pool3d "
        "max_unpool2d max_unpool3d adaptive_avg_pool3d reflection_pad1d reflection_pad2d replication_pad1d "
        "replication_pad2d replication_pad3d mse_loss cosine_embedding_loss nll_loss nll_loss_nd hinge_embedding_loss "
        "poisson_nll_loss smooth_l1_loss cross_entropy_loss l1_loss huber_loss margin_ranking_loss soft_margin_loss "
        "triplet_margin_loss multi_margin_loss ctc_loss kl_div multilabel_margin_loss "
        "binary_cross_entropy_with_logits"
    ),
    OPTIONAL_FULL: "",
    WIDEST: "stack cat index_copy",
}
SPACES: Tuple[Any, ...] = (torch, torch.Tensor, torch._C._nn, torch.special, torch.functional)


def policies(*, gpu: bool) -> Dict[Any, str]:
    """The policy of each function that has one."""
    found: Dict[Any, str] = {}
    for policy, names in (CUDA if gpu else HOST).items():
        for name in names.split():
            spaces = (*SPACES, torch.linalg) if name.startswith("linalg_") else SPACES
            short = name.replace("linalg_", "")
            for space in spaces:
                function = getattr(space, short if space is torch.linalg else name, None)
                if callable(function):
                    found[function] = policy
    return found
