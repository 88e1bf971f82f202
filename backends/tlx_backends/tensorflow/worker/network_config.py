"""The ``model`` block of a generated ``pipeline.config``, one function per kind of network.

Plain nested mappings in the API's own field names (``object_detection/protos``). Every required
field is here, and every field whose default in the .proto file is not what the published
configurations use: those defaults (initializer stddev 1, no score converter, RELU, ...) train
badly without an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .families import Family

Block = dict[str, Any]

_BOX_CODER = {
    "faster_rcnn_box_coder": {
        "y_scale": 10.0,
        "x_scale": 10.0,
        "height_scale": 5.0,
        "width_scale": 5.0,
    }
}
_MATCHER = {
    "argmax_matcher": {
        "matched_threshold": 0.5,
        "unmatched_threshold": 0.5,
        "ignore_thresholds": False,
        "negatives_lower_than_unmatched": True,
        "force_match_for_each_row": True,
        "use_matmul_gather": True,
    }
}
# The class head starts by predicting 1 % objects (Lin et al., Focal Loss, section 3.3).
_PRIOR_BIAS = -4.6
# Of the hourglass networks' own training, in BGR order.
_HOURGLASS_MEANS = [104.01362025, 114.03422265, 119.9165958]
_HOURGLASS_STDS = [73.6027665, 69.89082075, 70.9150767]
# Channels, BiFPN repeats and head layers of EfficientDet D0 to D7 (Tan et al. 2020, table 1).
_COMPOUND = (
    (64, 3, 3),
    (88, 4, 3),
    (112, 5, 3),
    (160, 6, 4),
    (224, 7, 4),
    (288, 7, 4),
    (384, 8, 5),
    (384, 8, 5),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a network is made for.

    Attributes:
        classes: Number of classes.
        size: Side of the square input in pixels.
        anchors: The anchor generator; None for CenterNet.
        depth_multiplier: Width of a MobileNet.
        feature_depth: Channels of the pyramid and the heads; None for the published number.
        head_layers: Layers of the shared heads; None for the published number.
        proposals: Boxes that Faster R-CNN looks at twice.
        most_boxes: Detections per image at most.
    """

    classes: int
    size: int
    anchors: Block | None
    depth_multiplier: float = 1.0
    feature_depth: int | None = None
    head_layers: int | None = None
    proposals: int = 300
    most_boxes: int = 100


def network_block(family: Family, shape: Shape) -> Block:
    """The ``model`` block of a family."""
    builders = {
        "ssd": _ssd_mobilenet,
        "fpn": _ssd_fpn,
        "efficientdet": _efficientdet,
        "faster_rcnn": _faster_rcnn,
        "center_net": _center_net,
    }
    return builders[family.kind](family, shape)


def _layers(
    initializer: Mapping[str, Any],
    *,
    decay: float,
    weight: float = 4e-5,
    activation: str = "RELU_6",
    bias: bool = False,
) -> Block:
    """Convolution hyperparameters; ``decay`` is that of the batch norm's moving averages."""
    block: Block = {
        "activation": activation,
        "regularizer": {"l2_regularizer": {"weight": weight}},
        "initializer": dict(initializer),
        "batch_norm": {
            "decay": decay,
            "epsilon": 0.001,
            "scale": True,
            "center": True,
            "train": True,
        },
    }
    if bias:
        block["force_use_bias"] = True
    return block


def _normal(stddev: float) -> Block:
    return {"random_normal_initializer": {"mean": 0.0, "stddev": stddev}}


def _truncated(stddev: float) -> Block:
    return {"truncated_normal_initializer": {"mean": 0.0, "stddev": stddev}}


def _resizer(family: Family, size: int) -> Block:
    if family.stretch:
        return {"fixed_shape_resizer": {"height": size, "width": size}}
    return {
        "keep_aspect_ratio_resizer": {
            "min_dimension": size,
            "max_dimension": size,
            "pad_to_max_dimension": True,
        }
    }


def _suppression(score: float, overlap: float, most: int, total: int) -> Block:
    return {
        "score_threshold": score,
        "iou_threshold": overlap,
        "max_detections_per_class": most,
        "max_total_detections": total,
    }


def _ssd(
    family: Family,
    shape: Shape,
    extractor: Block,
    predictor: Block,
    *,
    alpha: float,
    gamma: float,
    overlap: float = 0.6,
) -> Block:
    return {
        "ssd": {
            "num_classes": shape.classes,
            "image_resizer": _resizer(family, shape.size),
            "feature_extractor": extractor,
            "box_predictor": predictor,
            "anchor_generator": shape.anchors,
            "box_coder": _BOX_CODER,
            "matcher": _MATCHER,
            "similarity_calculator": {"iou_similarity": {}},
            "encode_background_as_zeros": True,
            "normalize_loss_by_num_matches": True,
            "normalize_loc_loss_by_codesize": True,
            "inplace_batchnorm_update": True,
            "freeze_batchnorm": False,
            "loss": {
                "classification_loss": {"weighted_sigmoid_focal": {"alpha": alpha, "gamma": gamma}},
                "localization_loss": {"weighted_smooth_l1": {"delta": 1.0}},
                "classification_weight": 1.0,
                "localization_weight": 1.0,
            },
            "post_processing": {
                "batch_non_max_suppression": _suppression(
                    1e-8, overlap, shape.most_boxes, shape.most_boxes
                ),
                "score_converter": "SIGMOID",
            },
        }
    }


def _ssd_mobilenet(family: Family, shape: Shape) -> Block:
    extractor = {
        "type": family.extractor,
        "depth_multiplier": shape.depth_multiplier,
        "min_depth": 16,
        "conv_hyperparams": _layers(_truncated(0.03), decay=0.97),
        "override_base_feature_extractor_hyperparams": True,
    }
    predictor = {
        "convolutional_box_predictor": {
            "conv_hyperparams": _layers(_normal(0.01), decay=0.97),
            "min_depth": 0,
            "max_depth": 0,
            "num_layers_before_predictor": shape.head_layers or 0,
            "use_dropout": False,
            "kernel_size": 1,
            "box_code_size": 4,
            "apply_sigmoid_to_scores": False,
            "class_prediction_bias_init": _PRIOR_BIAS,
        }
    }
    return _ssd(family, shape, extractor, predictor, alpha=0.75, gamma=2.0)


def _ssd_fpn(family: Family, shape: Shape) -> Block:
    light = "mobilenet" in family.extractor
    depth = shape.feature_depth or (128 if light else 256)
    weight = 4e-5 if light else 4e-4
    first = _normal(0.01) if light else _truncated(0.03)
    extractor: Block = {
        "type": family.extractor,
        "depth_multiplier": shape.depth_multiplier if light else 1.0,
        "min_depth": 16,
        "fpn": {"min_level": 3, "max_level": 7, "additional_layer_depth": depth},
        "conv_hyperparams": _layers(first, decay=0.997, weight=weight),
        "override_base_feature_extractor_hyperparams": True,
    }
    predictor: Block = {
        "depth": depth,
        "class_prediction_bias_init": _PRIOR_BIAS,
        "conv_hyperparams": _layers(_normal(0.01), decay=0.997, weight=weight),
        "num_layers_before_predictor": 4 if shape.head_layers is None else shape.head_layers,
        "kernel_size": 3,
    }
    if light:
        extractor["use_depthwise"] = True
        predictor.update(share_prediction_tower=True, use_depthwise=True)
    block = {"weight_shared_convolutional_box_predictor": predictor}
    return _ssd(family, shape, extractor, block, alpha=0.25, gamma=2.0)


def _efficientdet(family: Family, shape: Shape) -> Block:
    channels, repeats, layers = _COMPOUND[family.level]
    depth = shape.feature_depth or channels
    extractor = {
        "type": family.extractor,
        "bifpn": {
            "min_level": 3,
            "max_level": 7,
            "num_iterations": repeats,
            "num_filters": depth,
        },
        "conv_hyperparams": _layers(_truncated(0.03), decay=0.99, activation="SWISH", bias=True),
    }
    predictor = {
        "weight_shared_convolutional_box_predictor": {
            "depth": depth,
            "class_prediction_bias_init": _PRIOR_BIAS,
            "conv_hyperparams": _layers(_normal(0.01), decay=0.99, activation="SWISH", bias=True),
            "num_layers_before_predictor": shape.head_layers or layers,
            "kernel_size": 3,
            "use_depthwise": True,
        }
    }
    block = _ssd(family, shape, extractor, predictor, alpha=0.25, gamma=1.5, overlap=0.5)
    block["ssd"]["add_background_class"] = False
    return block


def _faster_rcnn(family: Family, shape: Shape) -> Block:
    no_decay = {"l2_regularizer": {"weight": 0.0}}
    return {
        "faster_rcnn": {
            "num_classes": shape.classes,
            "image_resizer": _resizer(family, shape.size),
            "feature_extractor": {"type": family.extractor, "batch_norm_trainable": True},
            "first_stage_anchor_generator": shape.anchors,
            "first_stage_box_predictor_conv_hyperparams": {
                "op": "CONV",
                "regularizer": no_decay,
                "initializer": {"truncated_normal_initializer": {"stddev": 0.01}},
            },
            "first_stage_nms_score_threshold": 0.0,
            "first_stage_nms_iou_threshold": 0.7,
            "first_stage_max_proposals": shape.proposals,
            "first_stage_localization_loss_weight": 2.0,
            "first_stage_objectness_loss_weight": 1.0,
            "initial_crop_size": 14,
            "maxpool_kernel_size": 2,
            "maxpool_stride": 2,
            "second_stage_box_predictor": {
                "mask_rcnn_box_predictor": {
                    "use_dropout": False,
                    "dropout_keep_probability": 1.0,
                    "share_box_across_classes": True,
                    "fc_hyperparams": {
                        "op": "FC",
                        "regularizer": no_decay,
                        "initializer": {
                            "variance_scaling_initializer": {
                                "factor": 1.0,
                                "uniform": True,
                                "mode": "FAN_AVG",
                            }
                        },
                    },
                }
            },
            "second_stage_batch_size": min(64, shape.proposals),
            "second_stage_post_processing": {
                "batch_non_max_suppression": _suppression(
                    0.0, 0.6, shape.most_boxes, shape.most_boxes
                ),
                "score_converter": "SOFTMAX",
            },
            "second_stage_localization_loss_weight": 2.0,
            "second_stage_classification_loss_weight": 1.0,
            "use_static_shapes": True,
            "use_matmul_crop_and_resize": True,
            "clip_anchors_to_image": True,
            "use_static_balanced_label_sampler": True,
            "use_matmul_gather_in_matcher": True,
        }
    }


def _center_net(family: Family, shape: Shape) -> Block:
    extractor: Block = {"type": family.extractor}
    if family.extractor.startswith("hourglass"):
        extractor |= {
            "channel_means": _HOURGLASS_MEANS,
            "channel_stds": _HOURGLASS_STDS,
            "bgr_ordering": True,
        }
    else:
        # These extractors normalise by themselves, as Keras does for the backbone; a mean and a
        # deviation here would come on top (published weights bring those of their own training).
        extractor |= {"channel_means": [0.0, 0.0, 0.0], "channel_stds": [1.0, 1.0, 1.0]}
    if "mobilenet" in family.extractor:
        extractor["depth_multiplier"] = shape.depth_multiplier
    return {
        "center_net": {
            "num_classes": shape.classes,
            "image_resizer": _resizer(family, shape.size),
            "feature_extractor": extractor,
            "object_detection_task": {
                "task_loss_weight": 1.0,
                "offset_loss_weight": 1.0,
                "scale_loss_weight": 0.1,
                "localization_loss": {"l1_localization_loss": {}},
            },
            "object_center_params": {
                "object_center_loss_weight": 1.0,
                "min_box_overlap_iou": 0.7,
                "max_box_predictions": shape.most_boxes,
                "classification_loss": {
                    "penalty_reduced_logistic_focal_loss": {"alpha": 2.0, "beta": 4.0}
                },
            },
        }
    }
