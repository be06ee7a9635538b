"""Converts pairs of generated names by two processes; prints this process's memory.

python many_names.py FOLDER NUMBER

All names share one image and one label, so that only the names are many.
"""

import json
import resource
import sys
from pathlib import Path

from helpers import CLASSES, random_image, random_label, save_image

from gcnet_tf.beam.engine import checked_engine
from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.compact import View
from gcnet_tf.data.sources.pairs import Pair

OPTIONS = "--direct_num_workers 2 --direct_running_mode multi_processing"


def main() -> None:
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    image = save_image(folder / "image.png", random_image(0, 4, 4))
    label = save_image(folder / "label.png", random_label(0, 3, 4, 4))
    pairs = View(range(number), lambda index: Pair(f"n{index:09d}", image, label))
    engine = checked_engine("DirectRunner", OPTIONS.split())

    from gcnet_tf.beam.convert import conversion_by
    from gcnet_tf.data.records.finished import write_records

    manifest = write_records(
        pairs,
        folder / "records",
        "train",
        dataset_facts("folder", CLASSES),
        convert=conversion_by(engine),
    )
    most = {
        who: resource.getrusage(getattr(resource, f"RUSAGE_{who}")).ru_maxrss * 1024
        for who in ("SELF", "CHILDREN")
    }
    print(json.dumps({"num_samples": manifest.num_samples, **most}))


if __name__ == "__main__":
    main()
