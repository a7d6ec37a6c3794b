"""VGG-19 and the three fully convolutional networks, under the paper's layer names."""

from hptl_train.networks.deeplab import DeepLabV3Plus
from hptl_train.networks.fcn import FCN
from hptl_train.networks.layers import NETWORKS, Sizes
from hptl_train.networks.segmenter import Segmenter
from hptl_train.networks.vgg19 import VGG19

__all__ = ["FCN", "NETWORKS", "VGG19", "DeepLabV3Plus", "Segmenter", "Sizes"]
