// The module that remote.js starts as a worker.
import { loadHere } from "./load.js";
import { serve } from "./serve.js";

serve(globalThis, loadHere);
