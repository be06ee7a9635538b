"""Work in a child process, whose memory is free again afterwards."""

import multiprocessing
import sys
from collections.abc import Callable

from gcnet_tf.errors import UserError


def run_in_child(function: Callable[[], None]) -> None:
    """Runs a function in a forked process, and waits for it.

    Raises:
        UserError: the function's own, or because the process ended in another way.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        try:
            function()
        except UserError as error:
            sender.send(str(error))
        except KeyboardInterrupt:
            # The parent was interrupted as well, and reports it.
            sys.exit(1)

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        message = receiver.recv()
    except EOFError:
        message = None
    process.join()
    if message is not None:
        raise UserError(message)
    if process.exitcode:
        raise UserError(
            f"The process that exports ended with {process.exitcode}; what it said is "
            "above."
        )
