import ij.ImagePlus;
import ij.gui.Roi;
import ij.io.Opener;
import ij.io.RoiDecoder;
import ij.measure.Calibration;
import ij.process.ImageProcessor;
import java.awt.Rectangle;
import java.awt.image.ColorModel;
import java.awt.image.IndexColorModel;
import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

/**
 * Opens files as ImageJ does and says what it sees: arguments are a folder for the pixels, then
 * files. Of a TIFF its line is width, height, bits, pixel width, pixel height, unit and the colours
 * of 0, 1, 2 and 255; its pixels go to FOLDER/N.raw as big-endian int32. Of a zip of regions there
 * is a line each: name, stroke colour, bounds; FOLDER/N.raw has their masks, region after
 * region.
 */
public class ImageJReads {
    public static void main(String[] arguments) throws IOException {
        System.setProperty("java.awt.headless", "true");
        for (int n = 1; n < arguments.length; n++) {
            try (DataOutputStream raw = new DataOutputStream(new BufferedOutputStream(
                    new FileOutputStream(arguments[0] + "/" + n + ".raw")))) {
                if (arguments[n].endsWith(".zip")) {
                    regions(arguments[n], raw);
                } else {
                    picture(arguments[n], raw);
                }
            }
        }
    }

    private static void picture(String path, DataOutputStream raw) throws IOException {
        ImagePlus image = new Opener().openImage(path);
        if (image == null) {
            System.out.println("cannot be opened");
            return;
        }
        Calibration scale = image.getCalibration();
        ImageProcessor pixels = image.getProcessor();
        StringBuilder line = new StringBuilder();
        line.append(image.getWidth()).append('\t').append(image.getHeight());
        line.append('\t').append(image.getBitDepth()).append('\t').append(scale.pixelWidth);
        line.append('\t').append(scale.pixelHeight).append('\t').append(scale.getUnits());
        ColorModel model = pixels.getColorModel();
        for (int value : new int[] {0, 1, 2, 255}) {
            int colour = model instanceof IndexColorModel ? ((IndexColorModel) model).getRGB(value) : 0;
            line.append('\t').append(String.format("%06x", colour & 0xffffff));
        }
        System.out.println(line);
        for (int y = 0; y < image.getHeight(); y++) {
            for (int x = 0; x < image.getWidth(); x++) {
                raw.writeInt((int) pixels.getf(x, y));
            }
        }
    }

    private static void regions(String path, DataOutputStream raw) throws IOException {
        try (ZipInputStream zip = new ZipInputStream(new FileInputStream(path))) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                Roi region = new RoiDecoder(zip.readAllBytes(), entry.getName()).getRoi();
                Rectangle bounds = region.getBounds();
                ImageProcessor mask = region.getMask();
                for (int y = 0; y < bounds.height; y++) {
                    for (int x = 0; x < bounds.width; x++) {
                        raw.writeInt(mask == null || mask.get(x, y) != 0 ? 1 : 0);
                    }
                }
                System.out.println(region.getName() + '\t'
                    + String.format("%06x", region.getStrokeColor().getRGB() & 0xffffff) + '\t'
                    + bounds.x + '\t' + bounds.y + '\t' + bounds.width + '\t' + bounds.height);
            }
        }
    }
}
