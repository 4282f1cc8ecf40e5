package io.blockwharf.vhostuser;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.ExportType;
import io.blockwharf.api.export.IoThreads;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.virtio.blk.VirtioBlk;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.propertytypes.SatisfyingConditionTarget;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

/** Exports nodes as vhost-user-blk devices. */
@Component
@ExportType("vhost-user-blk")
@SatisfyingConditionTarget("(osgi.condition.id=CONFIG_VHOST_USER_BLK_SERVER)")
public final class VhostUserBlkDriver implements BlockExportDriver<VhostUserBlkOptions> {
    private static final int BACKLOG = 1;

    private final IoThreads ioThreads;
    private final Logger log;

    /** Made by Declarative Services. */
    @Activate
    public VhostUserBlkDriver(
            @Reference IoThreads ioThreads, @Reference(service = LoggerFactory.class) Logger log) {
        this.ioThreads = ioThreads;
        this.log = log;
    }

    @Override
    public BlockExport open(ExportSpec<VhostUserBlkOptions> spec) {
        VhostUserBlkOptions options = spec.options();
        int blockSize = VirtioBlk.logicalBlockSize(options.logicalBlockSize());
        int queues = VirtioBlk.queueCount(options.numQueues());
        if (!(options.addr() instanceof SocketAddress.Unix)
                && !(options.addr() instanceof SocketAddress.Fd)) {
            throw QmpException.generic("Only socket address types 'unix' and 'fd' are supported");
        }
        var device =
                new VirtioBlk(
                        spec.node(),
                        spec.writable(),
                        blockSize,
                        queues,
                        options.serial().orElse("vhost_user_blk"));
        ListeningSocket listener;
        try {
            listener = ListeningSocket.open(options.addr(), BACKLOG);
        } catch (LinuxException e) {
            throw new QmpException(e.getMessage(), e);
        }
        return VhostUserExport.start(spec, device, queues, listener, ioThreads, log);
    }

    @Override
    public boolean multiThreaded() {
        return true;
    }
}
