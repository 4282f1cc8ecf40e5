package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.ImageDescription;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.api.qmp.WireName;
import io.blockwharf.api.qmp.Wrapped;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/** QMP {@code query-named-block-nodes}. */
@Component(service = QmpCommand.class)
@QmpName("query-named-block-nodes")
public final class QueryNamedBlockNodes
        implements QmpCommand<
                QueryNamedBlockNodes.Arguments, List<QueryNamedBlockNodes.BlockDeviceInfo>> {
    /**
     * The arguments.
     *
     * @param flat leave the image of a backing file out of that of its node
     */
    public record Arguments(Optional<Boolean> flat) {}

    /**
     * QAPI {@code BlockDeviceInfo}; throttling is done by nodes of its own, so its values are 0.
     *
     * @param file the file name
     * @param nodeName the node's name
     * @param ro whether it is read-only
     * @param drv its driver
     * @param backingFile the file name of its backing node
     * @param backingFileDepth how many nodes are shown behind it: 0 if all are shown side by side
     * @param children the nodes right below it
     * @param active whether it can be used for more than to be read
     * @param encrypted never
     * @param detectZeroes what happens to written zeroes
     * @param image the image
     * @param cache how the host caches
     * @param writeThreshold the end of writes behind which an event is sent; 0: none
     * @param dirtyBitmaps its dirty bitmaps, newest first; left out if there is none
     */
    public record BlockDeviceInfo(
            String file,
            Optional<String> nodeName,
            boolean ro,
            String drv,
            @WireName("backing_file") Optional<String> backingFile,
            @WireName("backing_file_depth") long backingFileDepth,
            List<BlockdevChild> children,
            boolean active,
            boolean encrypted,
            @WireName("detect_zeroes") DetectZeroes detectZeroes,
            long bps,
            @WireName("bps_rd") long bpsRd,
            @WireName("bps_wr") long bpsWr,
            long iops,
            @WireName("iops_rd") long iopsRd,
            @WireName("iops_wr") long iopsWr,
            ImageInfo image,
            BlockdevCacheInfo cache,
            @WireName("write_threshold") long writeThreshold,
            Optional<List<BlockDirtyInfo>> dirtyBitmaps) {}

    /**
     * QAPI {@code BlockDirtyInfo}.
     *
     * @param name the bitmap's name
     * @param count dirty bytes
     * @param granularity bytes that one bit stands for
     * @param recording whether writes are recorded
     * @param busy whether an export shows it to clients
     * @param persistent whether the image keeps it
     * @param inconsistent there if its bits mean nothing
     */
    public record BlockDirtyInfo(
            Optional<String> name,
            long count,
            @Unsigned(32) long granularity,
            boolean recording,
            boolean busy,
            boolean persistent,
            Optional<Boolean> inconsistent) {}

    /**
     * QAPI {@code BlockdevChild}.
     *
     * @param child what it is to its parent
     * @param nodeName its name
     */
    public record BlockdevChild(String child, String nodeName) {}

    /**
     * QAPI {@code BlockdevCacheInfo}.
     *
     * @param writeback whether the write cache is on; it is a user's setting, not a node's
     * @param direct whether the page cache is bypassed
     * @param noFlush whether flushes are ignored
     */
    public record BlockdevCacheInfo(boolean writeback, boolean direct, boolean noFlush) {}

    /**
     * QAPI {@code ImageInfo}.
     *
     * @param filename the file name
     * @param format the driver
     * @param dirtyFlag whether it was not closed in order
     * @param clusterSize bytes that the format allocates at once
     * @param actualSize bytes that the image takes on the host
     * @param virtualSize bytes that its users see
     * @param backingFilename the name of the backing file in the image
     * @param fullBackingFilename the same as seen from everywhere
     * @param backingFilenameFormat its driver, if the image names it
     * @param snapshots internal ones
     * @param formatSpecific what only images of this format have
     * @param backingImage the image of the backing node, or of the filtered one
     */
    public record ImageInfo(
            String filename,
            String format,
            Optional<Boolean> dirtyFlag,
            Optional<Long> actualSize,
            long virtualSize,
            Optional<Long> clusterSize,
            Optional<String> backingFilename,
            Optional<String> fullBackingFilename,
            Optional<String> backingFilenameFormat,
            Optional<List<ImageDescription.SnapshotInfo>> snapshots,
            @Wrapped Optional<ImageDescription.Specific> formatSpecific,
            Optional<ImageInfo> backingImage) {}

    private final BlockGraph graph;

    /** Shows that graph. */
    @Activate
    public QueryNamedBlockNodes(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public List<BlockDeviceInfo> execute(Arguments arguments) {
        boolean flat = arguments.flat().orElse(false);
        return graph.nodes().stream().map(node -> describe(node, flat)).toList();
    }

    private static BlockDeviceInfo describe(Node node, boolean flat) {
        Optional<Node> backing = backing(node);
        int depth = 0;
        for (Optional<Node> n = below(node, flat); n.isPresent(); n = below(n.get(), flat)) {
            depth++;
        }
        return new BlockDeviceInfo(
                node.filename(),
                Optional.of(node.name),
                node.readOnly(),
                node.driverName,
                backing.map(Node::filename),
                depth,
                node.children.entrySet().stream()
                        .map(Map.Entry::getValue)
                        .map(child -> new BlockdevChild(child.childName, child.node.name))
                        .toList(),
                node.active(),
                false,
                node.options().detectZeroes(),
                0,
                0,
                0,
                0,
                0,
                0,
                image(node, flat),
                new BlockdevCacheInfo(true, node.options().direct(), node.options().noFlush()),
                node.writeThreshold(),
                Optional.of(bitmaps(node)).filter(all -> !all.isEmpty()));
    }

    private static List<BlockDirtyInfo> bitmaps(Node node) {
        return List.copyOf(node.bitmaps.values()).reversed().stream()
                .map(
                        bitmap ->
                                new BlockDirtyInfo(
                                        Optional.of(bitmap.name()),
                                        bitmap.count(),
                                        bitmap.granularity(),
                                        bitmap.enabled(),
                                        bitmap.busy(),
                                        bitmap.persistent(),
                                        Optional.of(bitmap.inconsistent()).filter(is -> is)))
                .toList();
    }

    private static ImageInfo image(Node node, boolean flat) {
        Optional<ImageDescription> description = node.image().description();
        Optional<ImageName> named = description.flatMap(ImageDescription::backing);
        Optional<Node> below = below(node, flat);
        return new ImageInfo(
                node.filename(),
                node.driverName,
                node.image().dirty(),
                node.image().allocatedSize(),
                node.length(),
                clusterSize(node),
                named.map(ImageName::filename),
                named.flatMap(name -> fullName(name, node)),
                named.flatMap(ImageName::format),
                description.map(ImageDescription::snapshots).filter(all -> !all.isEmpty()),
                description.flatMap(ImageDescription::specific),
                below.map(n -> image(n, false)));
    }

    /** A node that shows another one as it is tells the unit of that one. */
    private static Optional<Long> clusterSize(Node node) {
        return node.image()
                .clusterSize()
                .or(
                        () ->
                                Bitmaps.shownThrough(node)
                                        .filter(child -> child.role != ChildRole.BACKING)
                                        .flatMap(child -> clusterSize(child.node)));
    }

    /** The name of a backing file, if it means something from everywhere. */
    private static Optional<String> fullName(ImageName name, Node node) {
        NodeHandle file = node.children.get("file");
        try {
            String parent = file == null ? "" : file.node.filename();
            return Optional.of(ImageNames.resolve(name.filename(), parent));
        } catch (QmpException e) {
            return Optional.empty();
        }
    }

    /** What is shown behind a node, unless all nodes are to be shown side by side. */
    private static Optional<Node> below(Node node, boolean flat) {
        if (flat) {
            return Optional.empty();
        }
        return node.driver
                .filteredChild()
                .map(name -> node.children.get(name).node)
                .or(() -> backing(node));
    }

    private static Optional<Node> backing(Node node) {
        return Optional.ofNullable(node.children.get("backing")).map(child -> child.node);
    }
}
