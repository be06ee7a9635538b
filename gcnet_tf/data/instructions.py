"""Instructions for users who do not have a data set yet, for `str.format`."""

_NEXT_COMMANDS = """\
Then run the same command again; or only convert, with the configuration in use:
  python scripts/make_tfrecords.py --cfg CONFIG
If the data is already in another folder, add --set data.root=FOLDER."""

_DOWNLOAD_COMMAND = """\
Everything with one command:
  python scripts/make_tfrecords.py --cfg CONFIG --download"""

INSTRUCTIONS = {
    "voc12aug": f"""\
Pascal VOC 2012 with the SBD masks (10582 training and 1449 validation images).

{_DOWNLOAD_COMMAND}
Or by hand:
1. Images and masks, 2 GB; the folder VOCdevkit/VOC2012 in it belongs at {{root}}
   http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar
2. Additional training masks (SBD), 1.4 GB; without them there are only VOC's own 1464
   images. The folder benchmark_RELEASE in it belongs beside {{root}}
   http://home.bharathh.info/pubs/codes/SBD/download.html

Expected (SegmentationClassAug/NAME.png and aug.txt in place of SBD are fine, too):
  {{root}}
    JPEGImages/2007_000032.jpg ...
    SegmentationClass/2007_000032.png ...       palette or index PNG, 255 = border
    ImageSets/Segmentation/train.txt  val.txt
  {{root}}/../benchmark_RELEASE/dataset
    cls/2008_000002.mat ...    train.txt  val.txt

{_NEXT_COMMANDS}""",
    "ade20k": f"""\
ADE20K, the scene parsing release of 2016 (20210 training and 2000 validation images).

{_DOWNLOAD_COMMAND}
Or by hand:
1. Images and masks, 0.9 GB:
   http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip
   Unpack it; its folder ADEChallengeData2016 belongs at {{root}}

Expected:
  {{root}}
    images/training/ADE_train_00000001.jpg ...
    images/validation/ADE_val_00000001.jpg ...
    annotations/training/ADE_train_00000001.png ...    0 = other, 1..150 = classes
    annotations/validation/ADE_val_00000001.png ...

{_NEXT_COMMANDS}""",
    "cityscapes": f"""\
Cityscapes, fine annotations (2975 training and 500 validation images).

1. After registering, gtFine_trainvaltest.zip (0.2 GB) and
   leftImg8bit_trainvaltest.zip (11 GB) from
   https://www.cityscapes-dataset.com/downloads/
   Unpack both into {{root}}

Expected, with "aachen" standing for each city:
  {{root}}
    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png ...
    leftImg8bit/val/...
    gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png ...
    gtFine/val/...           *_labelTrainIds.png are preferred where there are any

{_NEXT_COMMANDS}""",
    "shapes": f"""\
The procedural shapes: there is nothing to download, the project draws them.

1. `make demo` draws them and then trains on them; they belong at {{root}}

Expected:
  {{root}}
    train/images/NAME.png ...    train/labels/NAME.png ...
    val/images/NAME.png ...      val/labels/NAME.png ...

{_NEXT_COMMANDS}""",
    "folder": f"""\
A folder of your own images, with the classes that data.classes lists.

1. Put images (JPEG or PNG) and labels at {{root}}
   A label is a PNG with the name and the size of its image. Each pixel holds the class
   id, counted from 0 in the order of data.classes; 255 = not labelled. Palette PNGs
   and 8-bit grey PNGs are both fine.

Expected:
  {{root}}
    train/images/NAME.jpg ...    train/labels/NAME.png ...
    val/images/NAME.jpg ...      val/labels/NAME.png ...

{_NEXT_COMMANDS}""",
    "labelme": f"""\
An export of labelme (its labelme2voc.py), with the classes that data.classes lists.

1. labelme2voc.py INPUT {{quoted_root}} --labels labels.txt
2. python scripts/make_config.py {{quoted_root}} --out my_data.json
   A share of the images, data.val_share, is kept for val, unless the lists
   ImageSets/Segmentation/train.txt and val.txt say which.

Expected:
  {{root}}
    JPEGImages/NAME.jpg ...
    SegmentationClass/NAME.png ...    or SegmentationClassPNG
    class_names.txt                   the classes; the same that data.classes has

{_NEXT_COMMANDS}""",
    "cvat": f"""\
An export of CVAT, with the classes that data.classes lists.

1. In CVAT: Actions > Export task dataset > "Segmentation mask 1.1", with "Save images"
   switched on. Unpack it into {{root}}
2. python scripts/make_config.py {{quoted_root}} --out my_data.json
   A share of the images, data.val_share, is kept for val, unless the lists
   ImageSets/Segmentation/train.txt and val.txt say which.

Expected:
  {{root}}
    JPEGImages/NAME.jpg ...
    SegmentationClass/NAME.png ...    in the colours of labelmap.txt
    labelmap.txt                      the classes; the same that data.classes has

{_NEXT_COMMANDS}""",
}

# The layouts of one's own data, in one line each.
LAYOUT_TEXTS = {
    "labelme": "labelme2voc.py: JPEGImages/, SegmentationClass/, class_names.txt",
    "cvat": "CVAT's Segmentation mask 1.1: JPEGImages/, SegmentationClass/, "
    "labelmap.txt",
    "roboflow": "Roboflow's semantic masks: NAME.jpg, NAME_mask.png and _classes.csv "
    "in train/ valid/ test/",
    "supervisely": "Supervisely: meta.json, DATASET/img/NAME.jpg, "
    "DATASET/ann/NAME.jpg.json",
    "coco": "COCO JSON, also Roboflow's: images, and JSON files with images, "
    "annotations, categories",
    "label_studio": "Label Studio: images, and its JSON or the PNGs of its brush",
    "labelme_json": "labelme's own files: images with NAME.json",
    "yolo": "YOLO's polygons: images/, labels/NAME.txt, data.yaml",
    "folder": "train/images/ train/labels/ val/images/ val/labels/; or images/ masks/; "
    "or img_dir/ ann_dir/; divided or not",
    "beside": "NAME.jpg with NAME_mask.png or NAME.jpg.png in the same folder",
}

INSTRUCTIONS |= {name: f"""\
Data of your own, with the classes that data.classes lists.

1. Put it at {{root}}, as it comes:
   {text}
2. python scripts/make_config.py {{root}} --out my_data.json
   Without a validation set, a share of the images, data.val_share, is kept for val.

{_NEXT_COMMANDS}""" for name, text in LAYOUT_TEXTS.items() if name not in INSTRUCTIONS}
