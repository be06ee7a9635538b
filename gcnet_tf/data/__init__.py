"""The data: everything between a folder of images and labels and batches of tensors."""
