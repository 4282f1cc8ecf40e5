/** The bytes of a connection: what server and client have in common. */
package io.blockwharf.nbd.link;
