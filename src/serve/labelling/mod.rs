//! Labelling of a folder of images in the browser: strokes, a forest that learns from them, where to label next.
