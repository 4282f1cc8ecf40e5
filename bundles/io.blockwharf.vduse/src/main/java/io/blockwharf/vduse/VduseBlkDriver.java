package io.blockwharf.vduse;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.ExportType;
import io.blockwharf.api.export.IoThreads;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.vduse.wire.DeviceConfig;
import io.blockwharf.virtio.blk.VirtioBlk;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.propertytypes.SatisfyingConditionTarget;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

/** Exports nodes as virtio disks of the host's kernel. */
@Component
@ExportType("vduse-blk")
@SatisfyingConditionTarget("(osgi.condition.id=CONFIG_VDUSE_BLK_EXPORT)")
public final class VduseBlkDriver implements BlockExportDriver<BlockExportOptionsVduseBlk> {
    /** The most entries of a ring. */
    static final int QUEUE_SIZE_MAX = 1024;

    private static final int QUEUE_SIZE_DEFAULT = 256;

    private final VduseExport.Host host;

    /** Made by Declarative Services. */
    @Activate
    public VduseBlkDriver(
            @Reference IoThreads ioThreads, @Reference(service = LoggerFactory.class) Logger log) {
        this(
                new VduseExport.Host(
                        DeviceFile::open, VdpaBus.HOST, RecoveryLog.DIRECTORY, ioThreads, log));
    }

    VduseBlkDriver(VduseExport.Host host) {
        this.host = host;
    }

    @Override
    public BlockExport open(ExportSpec<BlockExportOptionsVduseBlk> spec) {
        BlockExportOptionsVduseBlk options = spec.options();
        int queues = VirtioBlk.queueCount(options.numQueues());
        int queueSize = options.queueSize().orElse(QUEUE_SIZE_DEFAULT);
        if (queueSize <= 2 || queueSize > QUEUE_SIZE_MAX || Integer.bitCount(queueSize) != 1) {
            throw QmpException.generic("queue-size is invalid");
        }
        int blockSize = VirtioBlk.logicalBlockSize(options.logicalBlockSize());
        if (!DeviceConfig.validName(options.name())) {
            throw QmpException.generic(
                    "failed to create vduse device: '%s' is not a name for one", options.name());
        }
        var device =
                new VirtioBlk(
                        spec.node(),
                        spec.writable(),
                        blockSize,
                        queues,
                        options.serial().orElse(""));
        return VduseExport.start(host, spec, device, queues, queueSize);
    }

    @Override
    public boolean multiThreaded() {
        return true;
    }
}
