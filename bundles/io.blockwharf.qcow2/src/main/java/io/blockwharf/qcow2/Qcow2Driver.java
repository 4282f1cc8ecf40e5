package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpEvents;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** Driver {@code qcow2}. */
@Component(service = BlockDriver.class)
@BlockDriverName("qcow2")
public final class Qcow2Driver implements BlockDriver<Qcow2Options> {
    private static final Set<String> CHANGEABLE =
            Set.of(
                    "lazy-refcounts",
                    "pass-discard-request",
                    "pass-discard-snapshot",
                    "pass-discard-other",
                    "discard-no-unref",
                    "overlap-check",
                    "cache-size",
                    "l2-cache-size",
                    "l2-cache-entry-size",
                    "refcount-cache-size",
                    "cache-clean-interval");

    private final Qcow2Image.Listener listener;

    /** A driver that tells of corruption. */
    @Activate
    public Qcow2Driver(
            @Reference QmpEvents events, @Reference(service = LoggerFactory.class) Logger logger) {
        listener =
                new Qcow2Image.Listener() {
                    @Override
                    public void corrupted(String node, String message, boolean fatal) {
                        if (fatal) {
                            logger.error(
                                    "Marking image of node {} as corrupt: {}; further corruption"
                                            + " events will be suppressed",
                                    node,
                                    message);
                        } else {
                            logger.error("Image of node {} is corrupt: {}", node, message);
                        }
                        events.emit(BlockImageCorrupted.of(node, message, fatal));
                    }

                    @Override
                    public void closedBadly(String node, BlockIoException why) {
                        logger.error("Closing node {} failed: {}", node, why.getMessage(), why);
                    }
                };
    }

    @Override
    public BlockImage open(NodeSpec<Qcow2Options> spec) {
        return new Qcow2Image(spec, listener);
    }

    @Override
    public Set<String> changeableOptions() {
        return CHANGEABLE;
    }

    @Override
    public ChildRole childRole(String child, Qcow2Options options) {
        return child.equals("backing") ? ChildRole.BACKING : ChildRole.STORAGE;
    }

    @Override
    public Map<String, ImageName> namedChildren(NodeSpec<Qcow2Options> spec) {
        Header header = Qcow2Image.header(new ImageFile(spec.child("file")));
        Map<String, ImageName> named = new LinkedHashMap<>();
        header.backingName.ifPresent(
                name -> named.put("backing", new ImageName(name, header.backingFormat)));
        if (header.hasDataFile()) {
            header.dataFileName.ifPresent(
                    name ->
                            named.put(
                                    "data-file",
                                    new ImageName(name, java.util.Optional.of("file"))));
        }
        return named;
    }

    @Override
    public boolean recognises(ByteBuffer head) {
        return Header.begins(head);
    }
}
