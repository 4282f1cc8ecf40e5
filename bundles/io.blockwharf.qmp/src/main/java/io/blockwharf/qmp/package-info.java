/** QMP monitors: sessions that speak the protocol on chardevs, and the commands that are theirs. */
package io.blockwharf.qmp;
