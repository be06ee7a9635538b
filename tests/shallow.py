"""Small numbers of blocks of ResNets, for tests that do not test the depth."""

from gcnet_tf.models import resnet

# The last stage has two blocks: the second one has the identity as its shortcut, and
# the full dilation. So every kind of block occurs.
DEPTHS = {
    depth: ((1, 1, 1, 2), bottleneck)
    for depth, (_, bottleneck) in resnet.DEPTHS.items()
}
