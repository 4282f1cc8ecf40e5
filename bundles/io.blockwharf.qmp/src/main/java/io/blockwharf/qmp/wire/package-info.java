/** JSON as QMP has it on the wire. Knows bytes and values; no threads, no files. */
package io.blockwharf.qmp.wire;
