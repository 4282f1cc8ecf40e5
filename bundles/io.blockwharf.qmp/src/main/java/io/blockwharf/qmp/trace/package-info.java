/** Trace events: turned on and off, and where they go. */
package io.blockwharf.qmp.trace;
