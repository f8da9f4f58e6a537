// Emscripten 3.1.6 takes Node.js's fetch for a browser's and would ask it for a path of the disk.
delete globalThis.fetch;
