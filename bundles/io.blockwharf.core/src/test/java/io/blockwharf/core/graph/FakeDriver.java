package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpException;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/** A driver that opens {@link FakeImage}s and keeps them for the test. */
public final class FakeDriver implements BlockDriver<FakeDriver.Options> {
    /** What nodes of this driver can have. */
    public record Options(Optional<BlockdevRef> file, Optional<BlockdevRef> backing) {
        public static final Options NONE = new Options(Optional.empty(), Optional.empty());
    }

    /** The name that tests register it by. */
    public static final String NAME = "fake";

    public static final Map<String, Object> PROPERTIES = Map.of("block.driver.name", NAME);

    /** What was opened, by node-name. */
    public final Map<String, NodeSpec<Options>> specs = new LinkedHashMap<>();

    public final Map<String, FakeImage> images = new LinkedHashMap<>();
    public final List<String> closing = new ArrayList<>();

    /** What a file child is to its parent. */
    public ChildRole fileRole = ChildRole.FILTERED;

    /** Makes the image of the next node. */
    public Function<String, FakeImage> maker = _ -> new FakeImage(1 << 20);

    /** If present, opening fails with it. */
    public Optional<String> refusal = Optional.empty();

    @Override
    public BlockImage open(NodeSpec<Options> spec) {
        if (refusal.isPresent()) {
            throw QmpException.generic("%s", refusal.get());
        }
        FakeImage image = maker.apply(spec.nodeName());
        specs.put(spec.nodeName(), spec);
        images.put(spec.nodeName(), image);
        return image;
    }

    @Override
    public ChildRole childRole(String child, Options options) {
        return child.equals("backing") ? ChildRole.BACKING : fileRole;
    }

    /** Options of a node without anything. */
    public static BlockdevOptions options(String name) {
        return options(name, Options.NONE);
    }

    /** Options of a node on a node that is there. */
    public static BlockdevOptions over(String name, String file) {
        return options(
                name, new Options(Optional.of(new BlockdevRef.Reference(file)), Optional.empty()));
    }

    /** Options of a node with one that is made for it. */
    public static BlockdevOptions over(String name, BlockdevOptions file) {
        return options(
                name, new Options(Optional.of(new BlockdevRef.Definition(file)), Optional.empty()));
    }

    /** Options of a node with a backing node that is made for it. */
    public static BlockdevOptions backedBy(String name, BlockdevOptions backing) {
        return options(
                name,
                new Options(Optional.empty(), Optional.of(new BlockdevRef.Definition(backing))));
    }

    /** Options without generic ones. */
    public static BlockdevOptions options(String name, Options options) {
        return new BlockdevOptions(
                NAME,
                Optional.ofNullable(name),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                options);
    }

    public static BlockdevOptions readOnly(BlockdevOptions o) {
        return new BlockdevOptions(
                o.driver(),
                o.nodeName(),
                o.discard(),
                o.cache(),
                o.active(),
                Optional.of(true),
                o.autoReadOnly(),
                o.forceShare(),
                o.detectZeroes(),
                o.options());
    }

    public static BlockdevOptions inactive(BlockdevOptions o) {
        return new BlockdevOptions(
                o.driver(),
                o.nodeName(),
                o.discard(),
                o.cache(),
                Optional.of(false),
                o.readOnly(),
                o.autoReadOnly(),
                o.forceShare(),
                o.detectZeroes(),
                o.options());
    }

    public static BlockdevOptions forceShare(BlockdevOptions o) {
        return new BlockdevOptions(
                o.driver(),
                o.nodeName(),
                o.discard(),
                o.cache(),
                o.active(),
                o.readOnly(),
                o.autoReadOnly(),
                Optional.of(true),
                o.detectZeroes(),
                o.options());
    }

    public static BlockdevOptions with(BlockdevOptions o, BlockdevOptions.Discard discard) {
        return new BlockdevOptions(
                o.driver(),
                o.nodeName(),
                Optional.of(discard),
                o.cache(),
                o.active(),
                o.readOnly(),
                o.autoReadOnly(),
                o.forceShare(),
                o.detectZeroes(),
                o.options());
    }

    public static BlockdevOptions with(BlockdevOptions o, BlockdevOptions.DetectZeroes detect) {
        return new BlockdevOptions(
                o.driver(),
                o.nodeName(),
                o.discard(),
                o.cache(),
                o.active(),
                o.readOnly(),
                o.autoReadOnly(),
                o.forceShare(),
                Optional.of(detect),
                o.options());
    }

    public static BlockdevOptions cached(BlockdevOptions o, boolean direct, boolean noFlush) {
        return new BlockdevOptions(
                o.driver(),
                o.nodeName(),
                o.discard(),
                Optional.of(new BlockdevOptions.Cache(Optional.of(direct), Optional.of(noFlush))),
                o.active(),
                o.readOnly(),
                o.autoReadOnly(),
                o.forceShare(),
                o.detectZeroes(),
                o.options());
    }
}
