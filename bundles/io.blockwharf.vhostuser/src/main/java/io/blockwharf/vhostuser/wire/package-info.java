/** vhost-user messages as bytes and as values. */
package io.blockwharf.vhostuser.wire;
