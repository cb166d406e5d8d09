"""The pre-trained model, what may learn, how it is spoken to. Never reads data files, never trains."""
