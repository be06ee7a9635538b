"""The depths of ResNets as tests build them whose subject is another."""

from gcnet_tf.models import resnet

# Two blocks in the last stage: the second has the identity as its shortcut, and the
# full dilation. So every kind of block is there.
DEPTHS = {
    depth: ((1, 1, 1, 2), bottleneck)
    for depth, (_, bottleneck) in resnet.DEPTHS.items()
}
