"""A page that runs exported models in a browser, with all that it needs beside it."""
