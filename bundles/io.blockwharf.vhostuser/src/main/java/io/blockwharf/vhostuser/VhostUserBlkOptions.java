package io.blockwharf.vhostuser;

import io.blockwharf.api.qmp.SizeValue;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.linux.SocketAddress;

import java.util.Optional;

/**
 * QAPI {@code BlockExportOptionsVhostUserBlk}.
 *
 * @param addr where front ends connect: a unix socket or an inherited listening socket
 * @param logicalBlockSize bytes, a power of two from 512 to 2 MiB (default 512)
 * @param numQueues 1 to 65535 (default 1)
 * @param serial what GET_ID answers (default {@code vhost_user_blk}); beyond QEMU
 */
public record VhostUserBlkOptions(
        SocketAddress addr,
        @SizeValue Optional<Long> logicalBlockSize,
        @Unsigned(16) Optional<Integer> numQueues,
        Optional<String> serial) {}
