"""Commands that exchange weights with mmsegmentation."""
