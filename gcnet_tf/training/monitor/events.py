"""The files of TensorBoard."""

import time
from pathlib import Path

import tensorflow as tf


def event_writer(folder: Path, start: int) -> tf.summary.SummaryWriter:
    """Opens a file of TensorBoard, and makes it forget what is computed again.

    A killed run has logged iterations after its last checkpoint. TensorBoard drops them
    when it comes to the mark of a restart, also while it is running.

    Args:
        folder: folder of the files.
        start: number of iterations that are done.
    """
    is_restart = any(folder.glob("*tfevents*"))
    writer = tf.summary.create_file_writer(str(folder))
    log = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    event = tf.compat.v1.Event(wall_time=time.time(), step=start + 1, session_log=log)
    # Twice, because TensorBoard takes the first mark of all for the start of the run.
    for _ in range(2 if is_restart else 0):
        # `tf.summary` makes only some kinds of events.
        tf.raw_ops.ImportEvent(writer=writer._resource, event=event.SerializeToString())
    return writer
