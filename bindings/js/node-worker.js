// The module that node.js starts as a worker thread.
import { parentPort } from "node:worker_threads";
import { loadHere } from "./node-load.js";
import { serve } from "./serve.js";

serve(parentPort, loadHere);
