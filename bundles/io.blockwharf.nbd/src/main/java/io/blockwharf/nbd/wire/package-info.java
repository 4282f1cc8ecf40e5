/**
 * The bytes of the NBD protocol: pure functions, no sockets, threads or clocks.
 *
 * <p>Section names are those of {@code doc/proto.md} of the NetworkBlockDevice project, with the
 * extension {@code EXTENDED_HEADERS} of its branch {@code extension-ext-header}. Everything on the
 * wire is big-endian. The handshake uses records; the transmission phase is read and written in
 * place and allocates nothing.
 */
package io.blockwharf.nbd.wire;
