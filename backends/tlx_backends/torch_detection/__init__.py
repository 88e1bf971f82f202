"""Object detectors of torchvision, fine-tuned on a tlx dataset."""
